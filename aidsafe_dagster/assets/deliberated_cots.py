"""Asset `deliberated_cots`."""

import dagster as dg

from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.resources.engine import EngineResource
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.stages.dialogue_stage import make_dialogue_stage
from aidsafe_dagster.stages.gates import GateConfig
from aidsafe_dagster.stages.materialization import Materialized
from aidsafe_dagster.stages.stage_asset import stage_asset


@stage_asset(Stage.DELIBERATED_COTS)
def deliberated_cots(
    context: dg.AssetExecutionContext,
    config: GateConfig,
    engine: EngineResource,
    lake: LakeResource,
) -> Materialized:
    """Agents, in turn or at a round table, add thoughts and revise the response until they agree.

    AIDSAFE's deliberation. It ends with agreement or when the rounds are spent. Each thought keeps
    who added it, in which round and under which rules.
    """
    return make_dialogue_stage(context, config, engine, lake, Stage.DELIBERATED_COTS)
