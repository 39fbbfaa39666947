"""Asset `quality_report`: what the data is worth, in the paper's terms, across batches."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from aidsafe_dagster.ablations.report import experiment_sections
from aidsafe_dagster.evaluation.arm_report import arm_sections
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.recipe.stages import STAGES
from aidsafe_dagster.reports.cost import StageTime
from aidsafe_dagster.reports.files import write_report
from aidsafe_dagster.reports.frames import Dataset, open_dataset
from aidsafe_dagster.reports.html import to_html
from aidsafe_dagster.reports.markdown import section_markdown, to_markdown
from aidsafe_dagster.reports.quality import ReportContext, build_quality_report
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.review.sections import review_sections
from aidsafe_dagster.selection.section import selection_sections
from aidsafe_dagster.stages.materialization import Materialized, materialized
from aidsafe_dagster.stages.planted_truth import planted_truth
from aidsafe_dagster.stages.row_links import OWN_ROWS_URL, row_links
from aidsafe_dagster.stages.stage_asset import report_asset

TITLE = "Quality report"

StageMetadata = Mapping[tuple[str, str], Mapping[str, Any]]
"""Metadata of the latest materialization, by stage and batch."""


@report_asset(
    Stage.SINGLE_LLM_COTS,
    Stage.COT_GRADES,
    Stage.PREFERENCE_PAIRS,
    Stage.FINE_TUNE_SPLITS,
    Stage.POLICY_COUNTERFACTUALS,
    kinds={"html", "markdown"},
)
def quality_report(
    context: dg.AssetExecutionContext, lake: LakeResource, settings: SettingsResource
) -> Materialized:
    """The paper's table for this data, with intervals.

    Also judges, refusals, margins, losses, cost, and rows to read.

    As one HTML file to send and one Markdown file, in the folder `reports` of the settings' home.
    """
    snapshot = settings.snapshot
    loaded = snapshot.settings
    opened = lake.open()
    dataset = open_dataset(opened)
    # Times are in Dagster alone. Rows have none, so that the same inputs give the same bytes.
    metadata_by_stage = _latest_metadata(context.instance, dataset)
    report_context = ReportContext(
        snapshot.policies,
        loaded.score_gate,
        _times_without_replay(metadata_by_stage),
        tokens_counted_by=_token_counters(metadata_by_stage),
        currency=loaded.currency,
        planted=planted_truth(dataset, loaded),
        further=(
            *selection_sections(opened),
            *review_sections(loaded.home, opened),
            *experiment_sections(loaded.home, loaded.seed, loaded.report.resamples),
            *arm_sections(loaded.home),
        ),
        rows_url=loaded.rows_url or OWN_ROWS_URL,
    )
    report = build_quality_report(dataset, report_context, loaded.report, loaded.seed)
    html = write_report(loaded.reports / "quality_report.html", to_html(report, TITLE))
    markdown = write_report(
        loaded.reports / "quality_report.md", to_markdown(report, TITLE)
    )
    metadata: dict[str, Any] = {
        "html": dg.MetadataValue.path(str(html)),
        "markdown": dg.MetadataValue.path(str(markdown)),
        **row_links(loaded),
    }
    for section in report.sections:
        metadata[section.title] = dg.MetadataValue.md(section_markdown(section))
    # Figures that the UI plots over time.
    metadata |= report.figures
    return materialized(snapshot, metadata, simulated=bool(report.simulation_warning))


def _latest_metadata(instance: dg.DagsterInstance, dataset: Dataset) -> StageMetadata:
    metadata = {}
    for stage in STAGES:
        for batch in dataset.batches_of(stage):
            values = _materialization_metadata(instance, stage, batch)
            if values:
                metadata[str(stage), batch] = values
    return metadata


def _materialization_metadata(
    instance: dg.DagsterInstance, stage: str, batch: str
) -> dict[str, Any]:
    records_filter = dg.AssetRecordsFilter(
        asset_key=dg.AssetKey(str(stage)), asset_partitions=[batch]
    )
    records = instance.fetch_materializations(records_filter, limit=1).records
    # A lake may be older than the instance, which then knows nothing of its batches.
    if not records:
        return {}
    materialization = records[0].asset_materialization
    if materialization is None:
        return {}
    return {name: value.value for name, value in materialization.metadata.items()}


def _token_counters(metadata_by_stage: StageMetadata) -> str:
    names = set()
    # Batches may have been counted by different tokenizers, and then the report names all.
    for (stage, _), metadata in metadata_by_stage.items():
        if stage == Stage.REFINED_COTS and "tokens_counted_by" in metadata:
            names.add(str(metadata["tokens_counted_by"]))
    return ", ".join(sorted(names))


def _times_without_replay(metadata_by_stage: StageMetadata) -> dict[str, StageTime]:
    """Sum the seconds of each stage over the batches whose time says what they cost.

    A batch that was partly replayed from the journal took less than it cost.
    """
    times: dict[str, StageTime] = {}
    for (stage, batch), metadata in metadata_by_stage.items():
        if "seconds" not in metadata or metadata.get("calls_replayed"):
            continue
        total = times.get(stage, StageTime(0, frozenset()))
        seconds = total.seconds + float(metadata["seconds"])
        times[stage] = StageTime(seconds, total.batches | {batch})
    return times
