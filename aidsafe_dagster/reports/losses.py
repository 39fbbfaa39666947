"""Section: rows that were left out or failed, by stage and reason."""

from collections import Counter
from collections.abc import Mapping

import polars as pl

from aidsafe_dagster.recipe.records import EXCLUSION_REASONS, Stage
from aidsafe_dagster.recipe.repairs import count_repairs
from aidsafe_dagster.recipe.stages import STAGES
from aidsafe_dagster.reports.frames import Dataset
from aidsafe_dagster.reports.mixed_recipes import mixed_recipe_table
from aidsafe_dagster.reports.sections import Section, Table, format_count, format_share
from aidsafe_dagster.reports.without_dpo import without_dpo_table

TITLE = "Rows lost"


def losses_section(dataset: Dataset) -> Section:
    rows_by_stage = {}
    for stage in STAGES:
        # A stage that no batch has reached would be a line of zeros.
        if dataset.batches_of(stage):
            rows_by_stage[stage] = dataset.rows(stage, "prompt_id").height
    if not rows_by_stage:
        return Section(TITLE, "No batch has been made yet.")
    tables = [_stage_table(rows_by_stage, dataset.failures)]
    if dataset.failures.height:
        tables.append(_reason_table(rows_by_stage, dataset.failures))
    for table in (
        without_dpo_table(dataset),
        mixed_recipe_table(dataset),
        _repair_table(dataset),
    ):
        if table:
            tables.append(table)
    intro = "Every row that enters a stage comes out as a row, is left out, or fails."
    return Section(TITLE, intro, tables)


def _repair_table(dataset: Dataset) -> Table | None:
    """Count the answers that were read leniently, by what was mended; None without any."""
    answers = repaired = 0
    kinds: Counter[str] = Counter()
    for stage, definition in STAGES.items():
        # No model is behind such a stage.
        if "repaired" not in definition.record.model_fields:
            continue
        rows = dataset.rows(stage, "usage", "repaired")
        answers += int(rows["usage"].struct.field("calls").sum())
        # A row of an older release has null, and one without repairs an empty list.
        notes = rows["repaired"].drop_nulls().explode().drop_nulls().to_list()
        repaired += len(notes)
        kinds += count_repairs(notes)
    if not repaired:
        return None
    lines = [("any", format_count(repaired), format_share(repaired, answers))]
    for kind, count in kinds.most_common():
        lines.append((kind, format_count(count), format_share(count, answers)))
    columns = ("what was mended", "answers", "share of all answers")
    note = "Of the rows that came out. A repaired answer says what the model said, in another form."
    return Table("Answers repaired", columns, tuple(lines), note)


def _stage_table(rows_by_stage: Mapping[str, int], failures: pl.DataFrame) -> Table:
    rows = []
    for stage, n in rows_by_stage.items():
        lost = failures.filter(stage=str(stage))
        entered = n + lost.height
        is_left_out = pl.col("reason").is_in(list(EXCLUSION_REASONS))
        left_out = lost.filter(is_left_out).height
        failed = lost.height - left_out
        counts = map(format_count, (entered, n, left_out, failed))
        rows.append(
            (
                str(stage),
                *counts,
                format_share(failed, entered),
            )
        )
    note = (
        "Rows left out are sound, but of no use. Failed rows are retried when the batch is made "
        "again. fine_tune_splits counts SFT and DPO rows."
    )
    columns = ("stage", "in", "rows", "left out", "failed", "share failed")
    return Table("By stage", columns, tuple(rows), note)


def _reason_table(rows_by_stage: Mapping[str, int], failures: pl.DataFrame) -> Table:
    entered = {}
    for stage, n in rows_by_stage.items():
        lost = failures.filter(stage=str(stage)).height
        entered[str(stage)] = n + lost
    # In the order of the recipe, where the alphabet would put refined rows before seeds.
    stage_place = pl.col("stage").replace_strict(
        list(map(str, Stage)), range(len(Stage))
    )
    counts = failures.group_by("stage", "reason").len()
    counts = counts.sort(stage_place, "len", "reason", descending=[False, True, False])
    rows = []
    for stage, reason, n in counts.iter_rows():
        kind = "left out" if reason in EXCLUSION_REASONS else "failed"
        rows.append(
            (
                stage,
                reason,
                kind,
                format_count(n),
                format_share(n, entered[stage]),
            )
        )
    columns = ("stage", "reason", "kind", "rows", "share of the stage's")
    return Table(
        "By reason",
        columns,
        tuple(rows),
        text_columns=3,
    )
