"""Section: calls, tokens, time and money of each stage, including the rows that failed."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from aidsafe_dagster.engines.prices import format_money
from aidsafe_dagster.recipe.records import Stage, Usage
from aidsafe_dagster.recipe.stages import STAGES
from aidsafe_dagster.reports.frames import Dataset
from aidsafe_dagster.reports.sections import (
    EMPTY_CELL,
    Section,
    Table,
    format_count,
    format_number,
    format_share,
)

TITLE = "Cost"
_COLUMNS = (
    "stage",
    "rows",
    "failed",
    "calls per row",
    "tokens in per row",
    "of them cached",
    "cached share",
    "tokens out per row",
    "of them reasoning",
    "seconds per row",
)
_NOTE = (
    "Seconds per row are wall time. They cover the batches whose latest run replayed nothing from "
    "the journal: the time of the stage divided by its rows, which run concurrently."
)
_MONEY_NOTE = (
    "What the calls cost at the prices that were set when the batch was made last. Rows made "
    "without prices cost 0. An answer that was replayed counts with what it cost once."
)
_ALL = "all, per refined row"


@dataclass(frozen=True)
class StageTime:
    """Wall time of a stage, over the batches that were timed."""

    seconds: float
    batches: frozenset[str]


@dataclass(frozen=True)
class StageCost:
    """What one stage asked of its models."""

    rows: int
    failed: int
    usage: Usage
    """Includes the failed rows."""
    seconds_per_row: float | None
    """Wall seconds over the timed batches. None if no batch was timed."""


def compute_costs(
    dataset: Dataset, stage_times: Mapping[str, StageTime]
) -> dict[str, StageCost]:
    """Return the cost of each stage that asked a model."""
    costs = {}
    for stage, definition in STAGES.items():
        # The stage asks no model.
        if "usage" not in definition.record.model_fields:
            continue
        rows = dataset.rows(stage, "batch", "usage")
        failures = dataset.failures.filter(stage=str(stage))
        # Failed rows are paid for too, by the rows that came out.
        usage = total_usage(rows) + total_usage(failures)
        if usage.calls:
            seconds = _seconds_per_row(rows, stage_times.get(stage))
            costs[stage] = StageCost(
                rows.height,
                failures.height,
                usage,
                seconds,
            )
    return costs


def total_usage(rows: pl.DataFrame) -> Usage:
    """Add up the column `usage`. Fields that an older release did not write count 0."""
    totals = rows.select(pl.col("usage").struct.unnest()).sum()
    return Usage(**totals.row(0, named=True))


def _seconds_per_row(rows: pl.DataFrame, time: StageTime | None) -> float | None:
    if time is None:
        return None
    # A batch that replayed answers took less time than its rows need, and is not among these.
    timed_rows = rows.filter(pl.col("batch").is_in(time.batches)).height
    if not timed_rows:
        return None
    return time.seconds / timed_rows


def cost_section(
    dataset: Dataset, stage_times: Mapping[str, StageTime], currency: str = ""
) -> Section:
    """Return the section. Money is shown where there are prices, or rows that have a cost."""
    costs = compute_costs(dataset, stage_times)
    if not costs:
        return Section(TITLE, "No model has been asked yet.")
    total = _sum_usage(costs)
    intro = (
        "Tokens are as the engine counted them. Figures per row are divided by the rows that came "
        "out, so these rows also pay for those that failed on the way. In total: "
        f"{format_count(total.calls)} calls, {format_count(total.prompt_tokens)} tokens in "
        f"({format_count(total.cached_tokens)} of them cached) and "
        f"{format_count(total.completion_tokens)} tokens out "
        f"({format_count(total.reasoning_tokens)} of them reasoning)."
    )
    tables = [_cost_table(costs)]
    if currency or total.cost:
        intro += f" At the prices in the settings they cost {format_money(total.cost, currency)}."
        tables.append(_money_table(costs, currency))
    return Section(TITLE, intro, tables)


def _sum_usage(costs: Mapping[str, StageCost]) -> Usage:
    total = Usage()
    for cost in costs.values():
        total += cost.usage
    return total


def _cost_table(costs: Mapping[str, StageCost]) -> Table:
    rows = [_table_row(stage, cost) for stage, cost in costs.items()]
    rows.append(_table_row(_ALL, _total(costs)))
    last = frozenset({len(rows) - 1})
    return Table(
        "Calls and tokens",
        _COLUMNS,
        tuple(rows),
        _NOTE,
        marked=last,
    )


def _money_table(costs: Mapping[str, StageCost], currency: str) -> Table:
    rows = [_money_row(stage, cost) for stage, cost in costs.items()]
    rows.append(_money_row(_ALL, _total(costs)))
    unit = f"{currency} " if currency else ""
    return Table(
        "Money",
        ("stage", f"{unit}per row", f"{unit}in total"),
        tuple(rows),
        _MONEY_NOTE,
        marked=frozenset({len(rows) - 1}),
    )


def _total(costs: Mapping[str, StageCost]) -> StageCost:
    # The refined rows pay for everything before and beside them.
    refined = costs.get(Stage.REFINED_COTS)
    return StageCost(
        rows=refined.rows if refined else 0,
        failed=sum(cost.failed for cost in costs.values()),
        usage=_sum_usage(costs),
        # Stages overlap, so their seconds do not add up.
        seconds_per_row=None,
    )


def _table_row(name: str, cost: StageCost) -> tuple[str, ...]:
    usage = cost.usage
    seconds = cost.seconds_per_row
    return (
        name,
        format_count(cost.rows),
        format_count(cost.failed),
        _per_row(usage.calls, cost.rows, digits=2),
        _per_row(usage.prompt_tokens, cost.rows, digits=0),
        _per_row(usage.cached_tokens, cost.rows, digits=0),
        format_share(usage.cached_tokens, usage.prompt_tokens),
        _per_row(usage.completion_tokens, cost.rows, digits=0),
        _per_row(usage.reasoning_tokens, cost.rows, digits=0),
        EMPTY_CELL if seconds is None else format_number(seconds, 3),
    )


def _money_row(name: str, cost: StageCost) -> tuple[str, ...]:
    per_row = EMPTY_CELL
    if cost.rows:
        per_row = format_money(cost.usage.cost / cost.rows)
    return (name, per_row, format_money(cost.usage.cost))


def _per_row(total: int, rows: int, digits: int) -> str:
    if not rows:
        return EMPTY_CELL
    return format_number(total / rows, digits)
