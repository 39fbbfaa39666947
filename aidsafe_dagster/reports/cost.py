"""Section: what the rows cost: calls and tokens by stage, the failed rows' included, and time where it is known."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from aidsafe_dagster.lake.lake import RECORDS
from aidsafe_dagster.recipe.records import Stage, Usage
from aidsafe_dagster.reports.frames import Dataset
from aidsafe_dagster.reports.sections import EMPTY_CELL, Section, Table, format_count, format_number, share

TITLE = "Cost"
_PER_ROW = ("calls", "tokens in", "tokens out")


@dataclass(frozen=True)
class StageTime:
    """Wall time of a stage over the batches that are timed."""

    seconds: float
    batches: frozenset[str]


@dataclass(frozen=True)
class Spent:
    """What one stage asked of its models."""

    rows: int
    failed: int
    usage: Usage
    """Failed rows' included."""
    seconds_per_row: float | None
    """Wall seconds, over the batches that are timed; None if there is none."""


def spent(dataset: Dataset, timed: Mapping[str, StageTime]) -> dict[Stage, Spent]:
    """By stage, those that ask a model alone."""
    found = {}
    for stage, record in RECORDS.items():
        if "usage" in record.model_fields:
            rows = dataset.rows(stage, "batch", "usage")
            failed = dataset.failures.filter(stage=str(stage))
            usage = _total(rows) + _total(failed)
            if usage.calls:
                found[stage] = Spent(
                    rows.height, failed.height, usage, _per_row(rows, timed.get(stage))
                )
    return found


def _total(rows: pl.DataFrame) -> Usage:
    return Usage(**rows.select(pl.col("usage").struct.unnest()).sum().row(0, named=True))


def _per_row(rows: pl.DataFrame, timed: StageTime | None) -> float | None:
    made = rows.filter(pl.col("batch").is_in(timed.batches)).height if timed else 0
    return timed.seconds / made if timed and made else None


def cost_section(dataset: Dataset, timed: Mapping[str, StageTime]) -> Section:
    found = spent(dataset, timed)
    if not found:
        return Section(TITLE, "No model was asked yet.")
    intro = "Tokens as the engine counted them. Per row: divided by the rows that came out, so that those which "
    total = sum((one.usage for one in found.values()), Usage())
    intro += f"failed on the way are paid for by the others. In all {format_count(total.calls)} calls, "
    intro += f"{format_count(total.prompt_tokens)} tokens in and {format_count(total.completion_tokens)} out."
    note = "Wall seconds are of the batches whose latest run replayed nothing from the journal: a stage's time divided "
    note += "by its rows, which were made at the same time."
    return Section(TITLE, intro, [_table(found, note)])


def _table(found: Mapping[Stage, Spent], note: str) -> Table:
    rows = [
        _line(stage, one.rows, one.failed, one.usage, one.seconds_per_row)
        for stage, one in found.items()
    ]
    total = sum((one.usage for one in found.values()), Usage())
    refined = found[Stage.REFINED_COTS].rows if Stage.REFINED_COTS in found else 0
    rows.append(
        _line(
            "all, per refined row", refined, sum(one.failed for one in found.values()), total, None
        )
    )
    columns = (
        "stage",
        "rows",
        "failed",
        *(f"{name} per row" for name in _PER_ROW),
        "cached share",
        "seconds per row",
    )
    return Table("Calls and tokens", columns, tuple(rows), note, marked=frozenset({len(rows) - 1}))


def _line(
    name: str, rows: int, failed: int, usage: Usage, seconds: float | None
) -> tuple[str, ...]:
    per_row = [
        format_number(total / rows if rows else None, digits)
        for total, digits in (
            (usage.calls, 2),
            (usage.prompt_tokens, 0),
            (usage.completion_tokens, 0),
        )
    ]
    cached = share(usage.cached_tokens, usage.prompt_tokens)
    return (
        name,
        format_count(rows),
        format_count(failed),
        *per_row,
        cached,
        EMPTY_CELL if seconds is None else format_number(seconds, 3),
    )
