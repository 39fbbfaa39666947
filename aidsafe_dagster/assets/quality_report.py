"""Asset `quality_report`: what the data is worth, in the paper's terms, across batches."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from aidsafe_dagster.assets.cot_grades import cot_grades
from aidsafe_dagster.assets.fine_tune_splits import fine_tune_splits
from aidsafe_dagster.assets.preference_pairs import preference_pairs
from aidsafe_dagster.assets.single_llm_cots import single_llm_cots
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.reports.cost import StageTime
from aidsafe_dagster.reports.files import write_report
from aidsafe_dagster.reports.frames import Dataset, open_dataset
from aidsafe_dagster.reports.html import to_html
from aidsafe_dagster.reports.markdown import section_markdown, to_markdown
from aidsafe_dagster.reports.quality import ReportContext, build_quality_report
from aidsafe_dagster.reports.sections import Report
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.review.sections import review_sections
from aidsafe_dagster.stages.metadata import REHEARSAL_LABEL
from aidsafe_dagster.stages.planted_truth import planted_truth
from aidsafe_dagster.stages.stage_asset import OWNERS

TITLE = "Quality report"


@dg.asset(
    deps=[single_llm_cots, cot_grades, preference_pairs, fine_tune_splits],
    group_name="reports",
    kinds={"html", "markdown"},
    owners=OWNERS,
    automation_condition=dg.AutomationCondition.any_deps_updated().since_last_handled()
    & ~dg.AutomationCondition.in_progress(),
)
def quality_report(
    context: dg.AssetExecutionContext, lake: LakeResource, settings: SettingsResource
) -> dg.MaterializeResult[Any]:
    """The paper's table for this data, with intervals; judges, refusals, margins, losses, cost; rows to read.

    One HTML file to send and one in Markdown, in the folder `reports` of the settings' home.
    """
    loaded, dataset = settings.load(), open_dataset(lake.open())
    runs = _runs(context.instance, dataset)
    told = ReportContext(
        loaded.load_policies(),
        loaded.score_gate,
        _timed(runs),
        tokens_counted_by=", ".join(sorted(_values(runs, Stage.REFINED_COTS, "tokens_counted_by"))),
        planted=planted_truth(dataset, loaded),
        further=review_sections(loaded.home, lake.open()),
    )
    report = build_quality_report(dataset, told, loaded.report, loaded.seed)
    html = write_report(loaded.reports / "quality_report.html", to_html(report, TITLE))
    markdown = write_report(loaded.reports / "quality_report.md", to_markdown(report, TITLE))
    paths = {
        "html": dg.MetadataValue.path(str(html)),
        "markdown": dg.MetadataValue.path(str(markdown)),
    }
    return dg.MaterializeResult(metadata={**paths, **_shown(report)})


Runs = Mapping[tuple[str, str], Mapping[str, Any]]
"""Metadata of the latest materialization, by stage and batch."""


def _runs(instance: dg.DagsterInstance, dataset: Dataset) -> Runs:
    return {
        (stage, batch): found
        for stage in Stage
        for batch in dataset.batches_of(stage)
        if (found := _latest(instance, stage, batch))
    }


def _latest(instance: dg.DagsterInstance, stage: str, batch: str) -> dict[str, Any]:
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(stage), asset_partitions=[batch])
    records = instance.fetch_materializations(wanted, limit=1).records
    event = records[0].asset_materialization if records else None
    return {name: value.value for name, value in event.metadata.items()} if event else {}


def _values(runs: Runs, stage: str, name: str) -> Iterator[str]:
    return iter(
        {str(found[name]) for (made, _), found in runs.items() if made == stage and name in found}
    )


def _timed(runs: Runs) -> dict[str, StageTime]:
    """Time tells of a batch's cost only where nothing was replayed."""
    timed: dict[str, StageTime] = {}
    for (stage, batch), found in runs.items():
        if "seconds" in found and not found.get("calls_replayed"):
            before = timed.get(stage, StageTime(0, frozenset()))
            timed[stage] = StageTime(before.seconds + float(found["seconds"]), before.batches | {batch})
    return timed


def _shown(report: Report) -> dict[str, Any]:
    """The sections, and the key numbers, which the UI plots over time."""
    shown: dict[str, Any] = (
        {"simulated": dg.MetadataValue.md(REHEARSAL_LABEL)} if report.simulation_warning else {}
    )
    shown |= {
        section.title: dg.MetadataValue.md(section_markdown(section)) for section in report.sections
    }
    return shown | dict(report.figures)
