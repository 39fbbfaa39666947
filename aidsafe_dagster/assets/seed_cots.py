"""Asset `seed_cots`."""

import dagster as dg

from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.resources.engine import EngineResource
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.stages.dialogue_stage import make_dialogue_stage
from aidsafe_dagster.stages.gates import GateConfig
from aidsafe_dagster.stages.materialization import Materialized
from aidsafe_dagster.stages.stage_asset import stage_asset


@stage_asset(Stage.SEED_COTS)
def seed_cots(
    context: dg.AssetExecutionContext,
    config: GateConfig,
    engine: EngineResource,
    lake: LakeResource,
) -> Materialized:
    """The intents behind each prompt, and one agent's first chain of thought and response.

    AIDSAFE's intent decomposition and initialization.
    """
    return make_dialogue_stage(context, config, engine, lake, Stage.SEED_COTS)
