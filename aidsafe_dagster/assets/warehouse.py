"""Asset `warehouse`: the dataset across batches, for analysts and for a look at the whole."""

from typing import Any

import dagster as dg
import polars as pl

from aidsafe_dagster.assets.fine_tune_splits import fine_tune_splits
from aidsafe_dagster.assets.refined_cots import refined_cots
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import schema_of
from aidsafe_dagster.quality.coverage import policy_coverage, rule_coverage, uncovered_policies
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import RefinedCot, Stage
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.resources.warehouse import WarehouseResource
from aidsafe_dagster.stages.gates import gate
from aidsafe_dagster.sources.tables import INGESTED
from aidsafe_dagster.stages.stage_asset import OWNERS

_CITED = ["prompt_id", "applicable_policies", "thoughts"]


@dg.asset(
    deps=[refined_cots, fine_tune_splits],
    group_name="reports",
    kinds={"duckdb"},
    owners=OWNERS,
    automation_condition=dg.AutomationCondition.any_deps_updated().since_last_handled()
    & ~dg.AutomationCondition.in_progress(),
)
def warehouse(
    context: dg.AssetExecutionContext,
    warehouse: WarehouseResource,
    lake: LakeResource,
    settings: SettingsResource,
) -> dg.MaterializeResult[Any]:
    """A DuckDB file with a view per table, always current; here: the gates and the policy coverage of all batches."""
    opened = lake.open()
    path = warehouse.build(opened)
    policies = settings.load().load_policies()
    rows = {
        f"rows_{s}": sum(opened.rows(s, batch, ["prompt_id"]).height for batch in opened.batches(s))
        for s in Stage
    }
    tables = {
        "gates": [_gates(context.instance, opened, batch) for batch in opened.batches(INGESTED)],
        "policy_coverage": policy_coverage(_refined(opened), policies).to_dicts(),
        "policy_by_batch": _policy_by_batch(opened, policies),
        "rule_coverage": rule_coverage(_refined(opened), policies),
    }
    shown: dict[str, Any] = {
        name: dg.MetadataValue.table([dg.TableRecord(line) for line in lines])
        for name, lines in tables.items()
        if lines
    }
    return dg.MaterializeResult(
        metadata={"path": dg.MetadataValue.path(str(path)), **rows, **shown}
    )


@dg.asset_check(
    asset=warehouse, description="Warns of policies that no row of the whole dataset cites"
)
def every_policy_cited(lake: LakeResource, settings: SettingsResource) -> dg.AssetCheckResult:
    policies = settings.load().load_policies()
    silent = uncovered_policies(_refined(lake.open()), policies)
    return dg.AssetCheckResult(
        passed=not silent,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"No row of the dataset cites: {', '.join(silent)}"
        if silent
        else "Every policy is cited",
        metadata={"uncovered_policies": list(silent)},
    )


def _refined(lake: Lake) -> pl.DataFrame:
    rows = lake.all_rows(Stage.REFINED_COTS, _CITED)
    return pl.DataFrame(schema=schema_of(RefinedCot)).select(_CITED) if rows is None else rows


def _policy_by_batch(lake: Lake, policies: Policies) -> list[dict[str, Any]]:
    """Per policy, the rows of each batch that cite it."""
    lines: dict[str, dict[str, Any]] = {policy: {"policy": policy} for policy in policies.ids}
    for batch in lake.batches(Stage.REFINED_COTS):
        found = policy_coverage(lake.rows(Stage.REFINED_COTS, batch, _CITED), policies)
        for policy, citing in found.select("policy", "citing_rows").iter_rows():
            lines[policy][batch] = citing
    return list(lines.values())


def _gates(instance: dg.DagsterInstance, lake: Lake, batch: str) -> dict[str, Any]:
    return {
        "batch": batch,
        **{str(stage): _verdict(instance, lake, stage, batch) for stage in Stage},
    }


def _verdict(instance: dg.DagsterInstance, lake: Lake, stage: Stage, batch: str) -> str:
    if not lake.has(stage, batch):
        return "not made"
    found = gate(instance, lake, stage, batch)
    return "passed" if found.open else str(found).partition(": ")[2]
