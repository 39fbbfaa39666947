"""Section: what each threshold of the score gate would keep."""

import polars as pl

from aidsafe_dagster.recipe.fine_tune_splits import ScoreGate
from aidsafe_dagster.recipe.records import METRICS
from aidsafe_dagster.reports.paper import WORDING
from aidsafe_dagster.reports.sections import EMPTY_CELL, Section, Table, format_count, share

TITLE = "Score gate"
THRESHOLDS = (3.0, 3.5, 4.0, 4.5, 5.0)


def kept(lines: pl.DataFrame) -> dict[str, list[int]]:
    """Refined rows whose mean score of the judges reaches each threshold, by metric and, last, by all of them."""
    scores = lines.filter(version="refined").group_by("prompt_id").agg(pl.col(METRICS).mean())
    least = scores.with_columns(pl.min_horizontal(METRICS).alias("all six"))
    return {
        name: [least.filter(pl.col(name) >= threshold).height for threshold in THRESHOLDS]
        for name in (*METRICS, "all six")
    }


def thresholds_section(lines: pl.DataFrame, gate: ScoreGate) -> Section:
    total = lines.filter(version="refined")["prompt_id"].n_unique()
    if not total:
        return Section(TITLE, "No row was graded yet.")
    words = {str(metric): WORDING[metric] for metric in METRICS}
    rows = [
        (
            words.get(name, name),
            *(f"{format_count(n)} ({share(n, total)})" for n in found),
            _in_force(gate, name),
        )
        for name, found in kept(lines).items()
    ]
    columns = ("metric", *(f"\u2265 {threshold:g}" for threshold in THRESHOLDS), "in force")
    note = f"Of {format_count(total)} refined rows that were graded; mean score of the judges. Setting: score_gate."
    return Section(
        TITLE,
        "How many refined rows a threshold would leave to train on.",
        [
            Table(
                "Rows that a threshold would keep",
                columns,
                tuple(rows),
                note,
                marked=frozenset({len(rows) - 1}),
            )
        ],
    )


def _in_force(gate: ScoreGate, name: str) -> str:
    least = getattr(gate, name, None)
    return EMPTY_CELL if least is None else f"\u2265 {least:g}"
