"""Asset `split_report`: the splits across batches, and the check that no cluster, and no prompt, is in two of them."""

from typing import Any

import dagster as dg
import polars as pl

from aidsafe_dagster.assets.fine_tune_splits import fine_tune_splits
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.reports.files import write_report
from aidsafe_dagster.reports.frames import Dataset, open_dataset
from aidsafe_dagster.reports.markdown import markdown_table, to_markdown
from aidsafe_dagster.reports.sections import Report, format_count
from aidsafe_dagster.reports.splits import (
    COLUMNS,
    find_spanning,
    split_sections,
    build_split_tables,
    count_strata,
    with_policies,
)
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.stages.metadata import REHEARSAL_LABEL
from aidsafe_dagster.stages.stage_asset import OWNERS

TITLE = "Split report"
_NAMED = 10


@dg.asset(
    deps=[fine_tune_splits],
    group_name="reports",
    kinds={"markdown", "parquet"},
    owners=OWNERS,
    automation_condition=dg.AutomationCondition.any_deps_updated().since_last_handled()
    & ~dg.AutomationCondition.in_progress(),
)
def split_report(lake: LakeResource, settings: SettingsResource) -> dg.MaterializeResult[Any]:
    """Rows by split × kind × policy × source × prompt kind, clusters, shares, the general mix, and what was left out.

    As Markdown, and the strata as Parquet, in the folder `reports` of the settings' home.
    """
    loaded, dataset = settings.load(), open_dataset(lake.open())
    rows = _rows(dataset)
    facts = {
        "Batches": format_count(len(dataset.batches_of(Stage.FINE_TUNE_SPLITS))),
        "Rows": format_count(rows.height),
    }
    simulated = REHEARSAL_LABEL.strip("*") if dataset.simulated else ""
    report = Report(facts, simulated, [], split_sections(rows, dataset.failures, loaded.splits))
    markdown = write_report(loaded.reports / "splits.md", to_markdown(report, TITLE))
    parquet = loaded.reports / "splits.parquet"
    count_strata(rows).write_parquet(parquet)
    label: dict[str, Any] = (
        {"simulated": dg.MetadataValue.md(REHEARSAL_LABEL)} if dataset.simulated else {}
    )
    return dg.MaterializeResult(
        metadata={
            **label,
            "markdown": dg.MetadataValue.path(str(markdown)),
            "parquet": dg.MetadataValue.path(str(parquet)),
            "rows": rows.height,
            "clusters": rows["cluster"].n_unique(),
            **{
                one.title: dg.MetadataValue.md(markdown_table(one))
                for one in build_split_tables(rows, loaded.splits)
            },
        }
    )


@dg.asset_check(
    asset=split_report,
    description="Every cluster, and every prompt, of the whole lake is in one split",
)
def no_cluster_spans_two_splits(lake: LakeResource) -> dg.AssetCheckResult:
    rows = _rows(_whole(lake.open()))
    clusters, prompts = (
        find_spanning(rows, "cluster")["cluster"],
        find_spanning(rows, "prompt_id")["prompt_id"],
    )
    return dg.AssetCheckResult(
        passed=clusters.is_empty() and prompts.is_empty(),
        severity=dg.AssetCheckSeverity.ERROR,
        description=_told(clusters, prompts),
        metadata={"clusters": len(clusters), "prompts": len(prompts), "rows": rows.height},
    )


def _told(clusters: pl.Series, prompts: pl.Series) -> str:
    if clusters.is_empty() and prompts.is_empty():
        return "Every cluster is in one split"
    named = ", ".join([*clusters.head(_NAMED), *prompts.head(_NAMED)])
    return (
        f"{len(clusters)} clusters and {len(prompts)} prompts are in more than one split: {named}. Were the shares "
        "changed since a batch was made? Make fine_tune_splits of all batches again"
    )


def _whole(lake: Lake) -> Dataset:
    return Dataset(
        lake, frozenset(lake.batches(Stage.FINE_TUNE_SPLITS)), simulated=False, left_out=0
    )


def _rows(dataset: Dataset) -> pl.DataFrame:
    refined = dataset.rows(Stage.REFINED_COTS, "prompt_id", "applicable_policies")
    return with_policies(dataset.rows(Stage.FINE_TUNE_SPLITS, *COLUMNS), refined)
