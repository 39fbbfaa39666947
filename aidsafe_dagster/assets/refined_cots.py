"""Asset `refined_cots`."""

import dagster as dg

from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.resources.engine import EngineResource
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.stages.dialogue_stage import make_dialogue_stage
from aidsafe_dagster.stages.gates import GateConfig
from aidsafe_dagster.stages.materialization import Materialized
from aidsafe_dagster.stages.stage_asset import stage_asset


@stage_asset(Stage.REFINED_COTS)
def refined_cots(
    context: dg.AssetExecutionContext,
    config: GateConfig,
    engine: EngineResource,
    lake: LakeResource,
) -> Materialized:
    """An impartial agent judges every thought and writes the final CoT and response.

    It drops thoughts that mislead, repeat or go against a policy.

    AIDSAFE's refinement: each final thought names the deliberated thoughts it is made from.
    """
    return make_dialogue_stage(context, config, engine, lake, Stage.REFINED_COTS)
