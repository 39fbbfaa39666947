"""Section: rows that went no further, by stage and reason."""

import polars as pl

from aidsafe_dagster.lake.lake import RECORDS
from aidsafe_dagster.recipe.records import LEFT_OUT, Stage
from aidsafe_dagster.reports.frames import Dataset
from aidsafe_dagster.reports.sections import Section, Table, format_count, share

TITLE = "Rows lost"


def losses_section(dataset: Dataset) -> Section:
    failures = dataset.failures
    made = {
        stage: dataset.rows(stage, "prompt_id").height for stage in RECORDS if dataset.batches_of(stage)
    }
    if not made:
        return Section(TITLE, "No batch was made yet.")
    tables = [_stage_table(made, failures)]
    if failures.height:
        tables.append(_reason_table(made, failures))
    return Section(
        TITLE, "Every row that enters a stage comes out as a row, is left out, or fails.", tables
    )


def _stage_table(made: dict[Stage, int], failures: pl.DataFrame) -> Table:
    rows = []
    for stage, n in made.items():
        lost = failures.filter(stage=str(stage))
        left_out = lost.filter(pl.col("reason").is_in(list(LEFT_OUT))).height
        failed = lost.height - left_out
        rows.append(
            (
                str(stage),
                format_count(n + lost.height),
                format_count(n),
                format_count(left_out),
                format_count(failed),
                share(failed, n + lost.height),
            )
        )
    note = "Left out: sound, and of no use. Failed: asked anew when the batch is made again. fine_tune_splits counts SFT "
    note += "and DPO rows."
    return Table(
        "By stage", ("stage", "in", "rows", "left out", "failed", "share failed"), tuple(rows), note
    )


def _reason_table(made: dict[Stage, int], failures: pl.DataFrame) -> Table:
    order = {str(stage): place for place, stage in enumerate(Stage)}
    counts = failures.group_by("stage", "reason").len().rows()
    entered = {
        str(stage): n + failures.filter(stage=str(stage)).height for stage, n in made.items()
    }
    rows = [
        (
            stage,
            reason,
            "left out" if reason in LEFT_OUT else "failed",
            format_count(n),
            share(n, entered[stage]),
        )
        for stage, reason, n in sorted(counts, key=lambda line: (order[line[0]], -line[2], line[1]))
    ]
    return Table(
        "By reason",
        ("stage", "reason", "kind", "rows", "share of the stage's"),
        tuple(rows),
        words=3,
    )
