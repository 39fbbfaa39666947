"""Asset `decontamination_report`: every row that was removed as part of an evaluation set, across batches."""

from typing import Any

import dagster as dg
import polars as pl

from aidsafe_dagster.assets.fine_tune_splits import fine_tune_splits
from aidsafe_dagster.assets.prompts import prompts
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import from_frame, schema_of, to_frame
from aidsafe_dagster.recipe.records import Failure
from aidsafe_dagster.reports.decontamination import (
    RemovedRow,
    by_set_and_rule,
    decontamination_sections,
    evaluation_sets,
    removed_rows,
    removed_table,
)
from aidsafe_dagster.reports.files import store
from aidsafe_dagster.reports.markdown import markdown_table, to_markdown
from aidsafe_dagster.reports.sections import Report, count
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.sources.evaluation_sets import CheckedSet
from aidsafe_dagster.stages.decontamination import (
    CHECKING,
    EVALUATION_SETS,
    checked_version,
    decontamination_version,
)
from aidsafe_dagster.sources.tables import INGESTED
from aidsafe_dagster.stages.stage_asset import OWNERS

TITLE = "Decontamination report"


@dg.asset(
    deps=[prompts, fine_tune_splits],
    group_name="reports",
    kinds={"markdown", "parquet"},
    owners=OWNERS,
    automation_condition=dg.AutomationCondition.any_deps_updated().since_last_handled()
    & ~dg.AutomationCondition.in_progress(),
)
def decontamination_report(
    lake: LakeResource, settings: SettingsResource
) -> dg.MaterializeResult[Any]:
    """Each removed row with the evaluation prompt it matched, the rule and the score; counts; the sets and thresholds.

    As Markdown and as Parquet, in the folder `reports` of the settings' home.
    """
    opened, loaded = lake.open(), settings.load()
    removed = removed_rows(_failures(opened), _sources(opened))
    checked = _checked(opened)
    behind = _not_checked(opened, decontamination_version(loaded))
    facts = {
        "Evaluation sets configured": ", ".join(spec.name for spec in loaded.decontamination.sets)
        or "none",
        "Rows removed": count(len(removed)),
        "Not checked with the present sets": ", ".join(behind) or "nothing",
    }
    report = Report(
        facts, "", [], decontamination_sections(removed, checked, loaded.decontamination)
    )
    markdown = store(loaded.reports / "decontamination.md", to_markdown(report, TITLE))
    parquet = loaded.reports / "decontamination.parquet"
    to_frame(removed, RemovedRow).write_parquet(parquet)
    shown = by_set_and_rule(removed, checked), evaluation_sets(checked), removed_table(removed)
    return dg.MaterializeResult(
        metadata={
            "markdown": dg.MetadataValue.path(str(markdown)),
            "parquet": dg.MetadataValue.path(str(parquet)),
            "rows_removed": len(removed),
            "not_checked_with_the_present_sets": len(behind),
            **{one.title: dg.MetadataValue.md(markdown_table(one)) for one in shown},
        }
    )


def _failures(lake: Lake) -> pl.DataFrame:
    frames = [lake.failures(stage, batch) for stage in CHECKING for batch in lake.batches(stage)]
    return pl.concat([pl.DataFrame(schema=schema_of(Failure)), *frames], how="diagonal_relaxed")


def _sources(lake: Lake) -> dict[str, str]:
    frames = (
        lake.rows(INGESTED, batch).select("prompt_id", "source") for batch in lake.batches(INGESTED)
    )
    return {prompt_id: source for frame in frames for prompt_id, source in frame.iter_rows()}


def _checked(lake: Lake) -> list[CheckedSet]:
    frames = (lake.rows(EVALUATION_SETS, batch) for batch in lake.batches(EVALUATION_SETS))
    return [row for frame in frames for row in from_frame(frame, CheckedSet)]


def _not_checked(lake: Lake, version: str) -> list[str]:
    """Stages of batches that were made with other sets or thresholds."""
    made = ((stage, batch) for stage in CHECKING for batch in lake.batches(stage))
    return [
        f"{stage} {batch}"
        for stage, batch in made
        if checked_version(lake, stage, batch) != version
    ]
