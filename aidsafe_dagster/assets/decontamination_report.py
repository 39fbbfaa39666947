"""Asset `decontamination_report`: every row that was removed because it is in an evaluation set."""

from typing import Any

import dagster as dg
import polars as pl

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import schema_of, to_frame
from aidsafe_dagster.lake.translations import EVALUATION_SETS
from aidsafe_dagster.recipe.records import Failure, Stage
from aidsafe_dagster.reports.decontamination import (
    RemovedRow,
    counts_by_set,
    decontamination_sections,
    evaluation_sets,
    removed_rows,
    removed_table,
)
from aidsafe_dagster.reports.files import write_report
from aidsafe_dagster.reports.markdown import markdown_table, to_markdown
from aidsafe_dagster.reports.sections import Report, format_count
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.sources.evaluation_sets import CheckedSet
from aidsafe_dagster.sources.tables import INGESTED
from aidsafe_dagster.stages.decontamination import (
    CHECKED_STAGES,
    checked_version,
    decontamination_version,
)
from aidsafe_dagster.stages.materialization import Materialized, materialized
from aidsafe_dagster.stages.stage_asset import report_asset

TITLE = "Decontamination report"


@report_asset(Stage.PROMPTS, Stage.FINE_TUNE_SPLITS, kinds={"markdown", "parquet"})
def decontamination_report(
    lake: LakeResource, settings: SettingsResource
) -> Materialized:
    """Each removed row with the evaluation prompt that it matched, the rule and the score.

    Also counts, sets and thresholds. As Markdown and as Parquet, in the folder `reports` of the
    settings' home.
    """
    opened = lake.open()
    snapshot = settings.snapshot
    loaded = snapshot.settings
    removed = removed_rows(_failures(opened), _sources(opened))
    checked = _checked_sets(opened)
    outdated = _outdated_stages(opened, decontamination_version(loaded))
    set_names = [spec.name for spec in loaded.decontamination.sets]
    facts = {
        "Evaluation sets configured": ", ".join(set_names) or "none",
        "Rows removed": format_count(len(removed)),
        "Not checked with the present sets": ", ".join(outdated) or "nothing",
    }
    sections = decontamination_sections(removed, checked, loaded.decontamination)
    report = Report(facts, "", [], sections)
    markdown = write_report(
        loaded.reports / "decontamination.md", to_markdown(report, TITLE)
    )
    parquet = loaded.reports / "decontamination.parquet"
    to_frame(removed, RemovedRow).write_parquet(parquet)
    metadata: dict[str, Any] = {
        "markdown": dg.MetadataValue.path(str(markdown)),
        "parquet": dg.MetadataValue.path(str(parquet)),
        "rows_removed": len(removed),
        "not_checked_with_the_present_sets": len(outdated),
    }
    tables = (
        counts_by_set(removed, checked),
        evaluation_sets(checked),
        removed_table(removed),
    )
    for table in tables:
        metadata[table.title] = dg.MetadataValue.md(markdown_table(table))
    return materialized(snapshot, metadata)


def _failures(lake: Lake) -> pl.DataFrame:
    # The empty frame gives the columns where nothing was made yet, and their order where an older
    # release wrote fewer.
    frames = [pl.DataFrame(schema=schema_of(Failure))]
    for stage in CHECKED_STAGES:
        for batch in lake.batches(stage):
            frames.append(lake.failures(stage, batch))
    return pl.concat(frames, how="diagonal_relaxed")


def _sources(lake: Lake) -> dict[str, str]:
    """Return the source of every ingested prompt, by prompt id."""
    sources: dict[str, str] = {}
    for batch in lake.batches(INGESTED):
        rows = lake.rows(INGESTED, batch, ["prompt_id", "source"])
        sources.update(rows.iter_rows())
    return sources


def _checked_sets(lake: Lake) -> list[CheckedSet]:
    checked: list[CheckedSet] = []
    for batch in lake.batches(EVALUATION_SETS):
        checked.extend(lake.records(EVALUATION_SETS, batch, CheckedSet))
    return checked


def _outdated_stages(lake: Lake, version: str) -> list[str]:
    """Return the stages of batches that were checked against other sets or thresholds."""
    outdated = []
    for stage in CHECKED_STAGES:
        for batch in lake.batches(stage):
            if checked_version(lake, stage, batch) != version:
                outdated.append(f"{stage} {batch}")
    return outdated
