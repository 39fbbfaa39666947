"""Asset `warehouse`: the dataset across batches, for analysts and for an overview."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import schema_of
from aidsafe_dagster.quality.coverage import (
    policy_coverage,
    rule_coverage,
    uncovered_policies,
)
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import RefinedCot, Stage
from aidsafe_dagster.recipe.stages import STAGES
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.resources.warehouse import WarehouseResource
from aidsafe_dagster.sources.tables import INGESTED
from aidsafe_dagster.stages.gates import read_gate
from aidsafe_dagster.stages.materialization import Materialized, materialized
from aidsafe_dagster.stages.metadata import record_table
from aidsafe_dagster.stages.stage_asset import report_asset

_COVERAGE_COLUMNS = ["prompt_id", "applicable_policies", "thoughts"]


@report_asset(Stage.REFINED_COTS, Stage.FINE_TUNE_SPLITS, kinds={"duckdb"})
def warehouse(
    context: dg.AssetExecutionContext,
    warehouse: WarehouseResource,
    lake: LakeResource,
    settings: SettingsResource,
) -> Materialized:
    """A DuckDB file with a view per table; here, gates and policy coverage of all batches."""
    opened = lake.open()
    snapshot = settings.snapshot
    policies = snapshot.policies
    path = warehouse.build(opened)
    metadata: dict[str, Any] = {"path": dg.MetadataValue.path(str(path))}
    for stage in STAGES:
        row_count = 0
        # One column is enough to count by, and a large lake has large rows.
        for batch in opened.batches(stage):
            row_count += opened.rows(stage, batch, ["prompt_id"]).height
        metadata[f"rows_{stage}"] = row_count
    refined = _refined_cots(opened)
    gates = []
    for batch in opened.batches(INGESTED):
        gates.append(_gates(context.instance, opened, batch))
    tables: dict[str, Sequence[Mapping[str, Any]]] = {
        "gates": gates,
        "policy_coverage": policy_coverage(refined, policies).to_dicts(),
        "policy_by_batch": _citing_rows_by_batch(opened, policies),
        "rule_coverage": rule_coverage(refined, policies),
    }
    for name, lines in tables.items():
        # Dagster refuses a table that has neither lines nor named columns.
        if lines:
            metadata[name] = record_table(lines)
    return materialized(snapshot, metadata)


@dg.asset_check(
    asset=warehouse,
    description="Warns of policies that no row of the whole dataset cites",
)
def every_policy_cited(
    lake: LakeResource, settings: SettingsResource
) -> dg.AssetCheckResult:
    refined = _refined_cots(lake.open())
    uncited = uncovered_policies(refined, settings.snapshot.policies)
    description = "Every policy is cited"
    if uncited:
        description = f"No row of the dataset cites: {', '.join(uncited)}"
    return dg.AssetCheckResult(
        passed=not uncited,
        severity=dg.AssetCheckSeverity.WARN,
        description=description,
        metadata={"uncovered_policies": list(uncited)},
    )


def _refined_cots(lake: Lake) -> pl.DataFrame:
    rows = lake.all_rows(Stage.REFINED_COTS, _COVERAGE_COLUMNS)
    if rows is None:
        return pl.DataFrame(schema=schema_of(RefinedCot)).select(_COVERAGE_COLUMNS)
    return rows


def _citing_rows_by_batch(lake: Lake, policies: Policies) -> list[Mapping[str, Any]]:
    """Return a line per policy, with a column per batch for the rows that cite it."""
    lines: dict[str, dict[str, Any]] = {
        policy: {"policy": policy} for policy in policies.ids
    }
    for batch in lake.batches(Stage.REFINED_COTS):
        rows = lake.rows(Stage.REFINED_COTS, batch, _COVERAGE_COLUMNS)
        coverage = policy_coverage(rows, policies)
        counts = coverage.select("policy", "citing_rows")
        for policy, citing_rows in counts.iter_rows():
            lines[policy][batch] = citing_rows
    return list(lines.values())


def _gates(instance: dg.DagsterInstance, lake: Lake, batch: str) -> Mapping[str, Any]:
    line = {"batch": batch}
    for stage in STAGES:
        line[str(stage)] = _gate_state(instance, lake, stage, batch)
    return line


def _gate_state(
    instance: dg.DagsterInstance, lake: Lake, stage: str, batch: str
) -> str:
    if not lake.has(stage, batch):
        return "not made"
    gate = read_gate(instance, lake, stage, batch)
    if gate.open:
        return "passed"
    # Without stage and batch, which are the column and the line of the table.
    return str(gate).partition(": ")[2]
