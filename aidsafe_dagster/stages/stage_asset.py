"""What the UI shows of a stage's asset before it is ever made: group, kinds, columns, version."""

import hashlib
from collections.abc import Callable
from functools import cache
from typing import Any

import dagster as dg

from aidsafe_dagster.lake.tables import schema_of
from aidsafe_dagster.recipe.batch_recipe import fingerprint_of
from aidsafe_dagster.recipe.records import Record, Stage
from aidsafe_dagster.recipe.stages import stage_named
from aidsafe_dagster.settings.recipe_parts import recipe_parts
from aidsafe_dagster.settings.snapshot import SettingsSnapshot, snapshot_in_force
from aidsafe_dagster.stages.decontamination import decontamination_version
from aidsafe_dagster.stages.partitions import batches

RECIPE = "recipe"
OWNERS = ["team:alignment"]


def stage_asset(stage: str) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Return `dg.asset` for the asset of a stage, with what the table of stages says of it."""
    definition = stage_named(stage)
    kinds = {"polars", "parquet"} if definition.dialogue is None else {"llm", "parquet"}
    return dg.asset(
        name=str(definition.name),
        deps=[dg.AssetKey(str(name)) for name in definition.inputs],
        partitions_def=batches,
        group_name=RECIPE,
        kinds=kinds,
        owners=OWNERS,
        code_version=code_version(stage, _current_snapshot()),
        metadata={"dagster/column_schema": column_schema(definition.record)},
        # One that is off makes nothing, and then its checks have nothing to judge.
        output_required=not definition.is_optional,
    )


def report_asset(
    *inputs: str, kinds: set[str]
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Return `dg.asset` for a report, which is rebuilt when a batch of an input changes."""
    # Not `eager()`: it waits until no batch is missing or being made, which may be never.
    deps_changed = dg.AutomationCondition.any_deps_updated().since_last_handled()
    return dg.asset(
        deps=[dg.AssetKey(str(name)) for name in inputs],
        group_name="reports",
        kinds=kinds,
        owners=OWNERS,
        automation_condition=deps_changed & ~dg.AutomationCondition.in_progress(),
    )


def column_schema(record: type[Record]) -> dg.TableSchema:
    """Return the columns of a record class with their types and descriptions."""
    types = schema_of(record)
    columns = []
    for name, field in record.model_fields.items():
        column = dg.TableColumn(
            name=name, type=str(types[name]), description=field.description
        )
        columns.append(column)
    return dg.TableSchema(columns=columns)


def code_version(stage: str, snapshot: SettingsSnapshot) -> str:
    """Hash what a stage's rows depend on: the UI shows batches of another version as stale."""
    settings = snapshot.settings
    # These two stages ask no model, so there is no template to hash. The number in front stands
    # for their code.
    if stage == Stage.PROMPTS:
        return f"1-{decontamination_version(settings)}"
    if stage == Stage.FINE_TUNE_SPLITS:
        splits, score_gate = _hash(settings.splits), _hash(settings.score_gate)
        return f"1-{decontamination_version(settings)}-{splits}-{score_gate}"
    return fingerprint_of(recipe_parts(snapshot, stage))


@cache
def _current_snapshot() -> SettingsSnapshot:
    """Every asset of the code location describes the settings as they were when it was loaded."""
    return snapshot_in_force()


def _hash(settings: Record) -> str:
    text = settings.model_dump_json()
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
