"""Asset `single_llm_cots`."""

import dagster as dg

from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.resources.engine import EngineResource
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.stages.dialogue_stage import make_dialogue_stage
from aidsafe_dagster.stages.gates import GateConfig
from aidsafe_dagster.stages.materialization import Materialized
from aidsafe_dagster.stages.stage_asset import stage_asset


@stage_asset(Stage.SINGLE_LLM_COTS)
def single_llm_cots(
    context: dg.AssetExecutionContext,
    config: GateConfig,
    engine: EngineResource,
    lake: LakeResource,
) -> Materialized:
    """The baseline: thoughts and response of one model in one call, under the same policies.

    Deliberation is measured against it (AIDSAFE, evaluation). No row of the dataset rests on it, so
    its checks warn and block nothing.
    """
    return make_dialogue_stage(context, config, engine, lake, Stage.SINGLE_LLM_COTS)
