"""What the UI says of a stage's asset before it is ever made: group, kinds, columns, and its version."""

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import dagster as dg

from aidsafe_dagster.lake.lake import RECORDS
from aidsafe_dagster.lake.tables import schema_of
from aidsafe_dagster.recipe.records import Record, Stage
from aidsafe_dagster.recipe.templates import Templates
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.stages.decontamination import decontamination_version
from aidsafe_dagster.stages.partitions import batches

_WITHOUT_MODEL = (Stage.PROMPTS, Stage.FINE_TUNE_SPLITS)
RECIPE = "recipe"
OWNERS = ["team:alignment"]


def stage_asset(
    stage: Stage, deps: Sequence[dg.AssetsDefinition] = ()
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """`dg.asset` for the asset of a stage, named, partitioned and described as every stage is."""
    return dg.asset(
        name=str(stage),
        deps=deps,
        partitions_def=batches,
        group_name=RECIPE,
        kinds={"parquet", "polars"} if stage in _WITHOUT_MODEL else {"llm", "parquet"},
        owners=OWNERS,
        code_version=_code_versions()[stage],
        metadata={"dagster/column_schema": column_schema(RECORDS[stage])},
    )


def column_schema(record: type[Record]) -> dg.TableSchema:
    """Columns with their types and descriptions."""
    types = schema_of(record)
    return dg.TableSchema(
        columns=[
            dg.TableColumn(name=name, type=str(types[name]), description=field.description)
            for name, field in record.model_fields.items()
        ]
    )


@cache
def _code_versions() -> dict[Stage, str]:
    """Hashes of what makes a stage: when templates, policies, evaluation sets or splits change, the UI shows it."""
    settings = load_settings().settings
    policies, templates = settings.load_policies(), Templates(settings.prompts)
    sets = decontamination_version(settings)
    without_model = {
        Stage.PROMPTS: f"1-{sets}",
        Stage.FINE_TUNE_SPLITS: f"1-{sets}-{_hash(settings.splits)}-{_hash(settings.score_gate)}",
    }
    return {
        stage: without_model.get(stage, f"{templates.version(stage)}-{policies.version}")
        for stage in RECORDS
    }


def _hash(settings: Record) -> str:
    return hashlib.blake2b(settings.model_dump_json().encode(), digest_size=4).hexdigest()
