"""Section: how many rows each threshold of the score gate would keep."""

import polars as pl

from aidsafe_dagster.recipe.fine_tune_splits import ScoreGate
from aidsafe_dagster.recipe.records import METRICS
from aidsafe_dagster.reports.floors import floor_table
from aidsafe_dagster.reports.paper import METRIC_NAMES
from aidsafe_dagster.reports.sections import (
    EMPTY_CELL,
    Section,
    Table,
    format_count,
    format_quantity,
    format_share,
)

TITLE = "Score gate"
THRESHOLDS = (3.0, 3.5, 4.0, 4.5, 5.0)
_ALL_METRICS = "all six"


def count_kept_rows(grades: pl.DataFrame) -> dict[str, list[int]]:
    """Count the refined rows that reach each threshold, by metric and, last, by all of them.

    A row's score is the mean of its judges.
    """
    refined = grades.filter(version="refined")
    scores = refined.group_by("prompt_id").agg(pl.col(METRICS).mean())
    # A row reaches a threshold on all metrics if its worst one does.
    scores = scores.with_columns(pl.min_horizontal(METRICS).alias(_ALL_METRICS))
    counts: dict[str, list[int]] = {}
    for name in (*METRICS, _ALL_METRICS):
        counts[name] = []
        for threshold in THRESHOLDS:
            reaching = scores.filter(pl.col(name) >= threshold)
            counts[name].append(reaching.height)
    return counts


def thresholds_section(
    grades: pl.DataFrame, failures: pl.DataFrame, gate: ScoreGate
) -> Section:
    total = grades.filter(version="refined")["prompt_id"].n_unique()
    if not total:
        return Section(TITLE, "No row has been graded yet.")
    names = {str(metric): name for metric, name in METRIC_NAMES.items()}
    rows = []
    for metric, counts in count_kept_rows(grades).items():
        cells = []
        for n in counts:
            share = format_share(n, total)
            cells.append(f"{format_count(n)} ({share})")
        rows.append(
            (
                names.get(metric, metric),
                *cells,
                _threshold_in_force(gate, metric),
            )
        )
    graded = format_quantity(total, "graded refined row", "graded refined rows")
    note = f"Of {graded}, by the mean score of the judges. Setting: score_gate."
    table = Table(
        "Rows that a threshold would keep",
        ("metric", *(f"\u2265 {threshold:g}" for threshold in THRESHOLDS), "in force"),
        tuple(rows),
        note,
        marked=frozenset({len(rows) - 1}),
    )
    intro = "How many refined rows each threshold leaves for training."
    return Section(TITLE, intro, [table, floor_table(failures, gate)])


def _threshold_in_force(gate: ScoreGate, metric: str) -> str:
    for name, floor in gate.floors.items():
        if name == metric:
            return f"\u2265 {floor:g}"
    return EMPTY_CELL
