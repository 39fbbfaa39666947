"""Asset `split_report`: the splits across batches, and the check that no cluster is in two of
them.
"""

from typing import Any

import dagster as dg
import polars as pl

from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.reports.files import write_report
from aidsafe_dagster.reports.frames import Dataset, open_dataset
from aidsafe_dagster.reports.markdown import markdown_table, to_markdown
from aidsafe_dagster.reports.sections import Report, Section, format_count
from aidsafe_dagster.reports.splits import (
    COLUMNS,
    build_split_tables,
    count_strata,
    find_spanning,
    split_sections,
    with_policies,
)
from aidsafe_dagster.reports.without_dpo import without_dpo_table
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.stages.materialization import (
    REHEARSAL_LABEL,
    Materialized,
    materialized,
)
from aidsafe_dagster.stages.stage_asset import report_asset

TITLE = "Split report"
_EXAMPLES = 10
"""Clusters and prompts that the check names at most."""


@report_asset(Stage.FINE_TUNE_SPLITS, kinds={"markdown", "parquet"})
def split_report(lake: LakeResource, settings: SettingsResource) -> Materialized:
    """Rows by split, kind, policy, source and prompt kind.

    Also clusters, shares, the general mix, and what was left out.

    As Markdown, and the strata as Parquet, in the folder `reports` of the settings' home.
    """
    snapshot = settings.snapshot
    dataset = open_dataset(lake.open())
    loaded = snapshot.settings
    rows = _stratified_rows(dataset)
    batches = dataset.batches_of(Stage.FINE_TUNE_SPLITS)
    facts = {
        "Batches": format_count(len(batches)),
        "Rows": format_count(rows.height),
    }
    warning = ""
    if dataset.simulated:
        # The report makes it bold in its own way.
        warning = REHEARSAL_LABEL.strip("*")
    sections = split_sections(rows, dataset.failures, loaded.splits, loaded.score_gate)
    without_dpo = without_dpo_table(dataset)
    if without_dpo:
        sections.append(Section("Without DPO rows", tables=[without_dpo]))
    report = Report(facts, warning, [], sections)
    markdown = write_report(loaded.reports / "splits.md", to_markdown(report, TITLE))
    parquet = loaded.reports / "splits.parquet"
    count_strata(rows).write_parquet(parquet)
    metadata: dict[str, Any] = {
        "markdown": dg.MetadataValue.path(str(markdown)),
        "parquet": dg.MetadataValue.path(str(parquet)),
        "rows": rows.height,
        "clusters": rows["cluster"].n_unique(),
    }
    for table in build_split_tables(rows, loaded.splits):
        metadata[table.title] = dg.MetadataValue.md(markdown_table(table))
    return materialized(snapshot, metadata, simulated=dataset.simulated)


@dg.asset_check(
    asset=split_report,
    description="Every cluster, and every prompt, of the whole lake is in one split",
)
def no_cluster_spans_two_splits(lake: LakeResource) -> dg.AssetCheckResult:
    opened = lake.open()
    # The report leaves out batches of the other kind (rehearsal or model); the check must not.
    batches = frozenset(opened.batches(Stage.FINE_TUNE_SPLITS))
    rows = _stratified_rows(Dataset(opened, batches, simulated=False, left_out=0))
    clusters = find_spanning(rows, "cluster")["cluster"]
    prompts = find_spanning(rows, "prompt_id")["prompt_id"]
    return dg.AssetCheckResult(
        passed=clusters.is_empty() and prompts.is_empty(),
        # Not a warning: a model would be tested on near copies of what it was trained on.
        severity=dg.AssetCheckSeverity.ERROR,
        description=_describe(clusters, prompts),
        metadata={
            "clusters": len(clusters),
            "prompts": len(prompts),
            "rows": rows.height,
        },
    )


def _describe(clusters: pl.Series, prompts: pl.Series) -> str:
    if clusters.is_empty() and prompts.is_empty():
        return "Every cluster is in one split"
    examples = ", ".join([*clusters.head(_EXAMPLES), *prompts.head(_EXAMPLES)])
    return (
        f"In more than one split: clusters: {len(clusters)}, prompts: {len(prompts)} ({examples}). "
        "If the shares have changed since a batch was made, "
        "make fine_tune_splits of all batches again"
    )


def _stratified_rows(dataset: Dataset) -> pl.DataFrame:
    refined = dataset.rows(Stage.REFINED_COTS, "prompt_id", "applicable_policies")
    return with_policies(dataset.rows(Stage.FINE_TUNE_SPLITS, *COLUMNS), refined)
