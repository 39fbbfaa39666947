"""Tables: how many rows each floor of the score gate took."""

import polars as pl

from aidsafe_dagster.recipe.fine_tune_splits import (
    NO_GRADE,
    FloorCounts,
    ScoreGate,
    count_by_floor,
)
from aidsafe_dagster.recipe.records import METRICS, FailureReason, Stage
from aidsafe_dagster.reports.paper import METRIC_NAMES
from aidsafe_dagster.reports.sections import EMPTY_CELL, Table, format_count

_NAMES: dict[str, str] = {NO_GRADE: NO_GRADE}
_NAMES.update((str(metric), name) for metric, name in METRIC_NAMES.items())


def floor_table(failures: pl.DataFrame, gate: ScoreGate) -> Table:
    """Count the rows that each floor kept out of the splits, over all batches."""
    below_floor = _rows_taken(failures)
    counts = count_by_floor(below_floor["detail"])
    floors = {str(metric): floor for metric, floor in gate.floors.items()}
    lines = []
    for missed in (*METRICS, NO_GRADE):
        floor = floors.get(missed)
        # A floor that is off now may have taken rows of batches that were made before.
        if floor is None and not counts.total(missed):
            continue
        in_force = EMPTY_CELL if floor is None else f"{floor:g}"
        lines.append((_NAMES[missed], in_force, *_cells(counts, missed)))
    sft, dpo = counts.rows["sft"], counts.rows["dpo"]
    lines.append(("any of them", EMPTY_CELL, format_count(sft), format_count(dpo)))
    note = "A row that misses two floors counts under both. Setting: score_gate."
    columns = ("metric", "floor in force", "SFT rows", "DPO rows")
    return Table("Rows that the floors took", columns, tuple(lines), note)


def floors_by_batch_table(failures: pl.DataFrame) -> Table:
    """Count, per batch, the SFT rows that each floor took. Batches that lost none are left out."""
    below_floor = _rows_taken(failures)
    missed_names = (*METRICS, NO_GRADE)
    lines = []
    for (batch,), rows in sorted(
        below_floor.partition_by("batch", as_dict=True).items()
    ):
        counts = count_by_floor(rows["detail"])
        cells = [format_count(counts.missed["sft"][missed]) for missed in missed_names]
        lines.append((str(batch), format_count(counts.rows["sft"]), *cells))
    columns = ("batch", "any of them", *(_NAMES[missed] for missed in missed_names))
    return Table("SFT rows that the floors took, by batch", columns, tuple(lines))


def _rows_taken(failures: pl.DataFrame) -> pl.DataFrame:
    return failures.filter(
        stage=str(Stage.FINE_TUNE_SPLITS), reason=str(FailureReason.BELOW_SCORE)
    )


def _cells(counts: FloorCounts, missed: str) -> tuple[str, str]:
    sft, dpo = counts.missed["sft"], counts.missed["dpo"]
    return format_count(sft[missed]), format_count(dpo[missed])
