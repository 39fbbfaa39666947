"""What the rows of finished batches took of a model: the sample that a plan rests on."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial

import polars as pl

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Stage, Usage
from aidsafe_dagster.recipe.stages import STAGES
from aidsafe_dagster.reports.planning import MeasuredSample, RowUsage

_LAST = Stage.FINE_TUNE_SPLITS
LATEST = 10
"""Batches that are enough for an outlook. Reading a thousand would take longer than it says."""


def measure(lake: Lake) -> tuple[MeasuredSample, int]:
    """Return the usage of finished batches, and how many batches are left out of it.

    A batch is finished when its last stage was made. Batches of a model are measured; those of the
    rehearsal count only where there are no others.
    """
    finished = lake.batches(_LAST)
    simulated = [batch for batch in finished if is_simulated(lake, batch)]
    by_model = [batch for batch in finished if batch not in simulated]
    # Never both: a simulated answer is as long as its phrases, and says nothing about a model's.
    batches = by_model or simulated
    prompts, usages = _usage_of(lake, batches)
    only_simulated = bool(simulated) and not by_model
    sample = MeasuredSample(prompts, usages, only_simulated, tuple(batches))
    left_out = len(finished) - len(batches)
    return sample, left_out


def latest_batches(lake: Lake, *, simulated: bool) -> list[str]:
    """Return the batches that were finished last, at most `LATEST` of them.

    Args:
        lake: holds them.
        simulated: those of the rehearsal, else those of a model.
    """
    batches: list[str] = []
    for batch in sorted(lake.batches(_LAST), key=partial(_written, lake), reverse=True):
        # One that is damaged is named where it is made again.
        with suppress(SetupError):
            if len(batches) < LATEST and is_simulated(lake, batch) == simulated:
                batches.append(batch)
    return batches


def measure_batches(
    lake: Lake, batches: Sequence[str], *, simulated: bool
) -> MeasuredSample:
    """Return the usage of some finished batches; one that cannot be read tells nothing."""
    prompts = 0
    usages: list[RowUsage] = []
    for batch in batches:
        with suppress(SetupError):
            prompts_of_batch, usages_of_batch = _usage_of(lake, [batch])
            prompts += prompts_of_batch
            usages += usages_of_batch
    return MeasuredSample(prompts, usages, simulated)


def _written(lake: Lake, batch: str) -> float:
    return float(lake.rows_path(_LAST, batch).stat().st_mtime)


def _usage_of(lake: Lake, batches: Sequence[str]) -> tuple[int, list[RowUsage]]:
    """Return the number of prompts of some batches, and the usage of their rows."""
    usages: list[RowUsage] = []
    prompts = 0
    for batch in batches:
        usages.extend(_row_usages(lake, batch))
        prompts += lake.rows(Stage.PROMPTS, batch).height
    return prompts, usages


def _row_usages(lake: Lake, batch: str) -> Iterator[RowUsage]:
    """Yield the usage of rows, finished or failed, of each stage that asks a model."""
    for stage, definition in STAGES.items():
        # A row of the last stage repeats the usage of the rows it is made from.
        asks_a_model = "usage" in definition.record.model_fields and stage is not _LAST
        if not asks_a_model or not lake.has(stage, batch):
            continue
        rows = lake.rows(stage, batch)
        failures = lake.failures(stage, batch)
        finished = list(_finished_rows(rows, stage))
        yield from finished
        # A failed row was paid for as well. It names no server, but the others of its stage do.
        servers = dict.fromkeys(name for row in finished for name in row.servers)
        for prompt_id, usage in failures.select("prompt_id", "usage").iter_rows():
            yield RowUsage(
                str(stage),
                prompt_id,
                failed=True,
                usage=Usage(**usage),
                servers=tuple(servers),
            )


def _finished_rows(frame: pl.DataFrame, stage: str) -> Iterator[RowUsage]:
    # Rows of an older release name no servers.
    columns = [
        name for name in ("prompt_id", "usage", "servers") if name in frame.columns
    ]
    for row in frame.select(columns).iter_rows(named=True):
        servers = tuple(row.get("servers") or ())
        usage = Usage(**row["usage"])
        yield RowUsage(
            str(stage), row["prompt_id"], failed=False, usage=usage, servers=servers
        )


def is_simulated(lake: Lake, batch: str) -> bool:
    """Tell whether the rehearsal engine made rows of a batch."""
    for stage, definition in STAGES.items():
        # Prompts come from users, and have no such column.
        has_label = "simulated" in definition.record.model_fields
        if not has_label or not lake.has(stage, batch):
            continue
        simulated = lake.rows(stage, batch)["simulated"]
        if simulated.any():
            return True
    return False
