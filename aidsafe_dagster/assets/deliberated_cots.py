"""Asset `deliberated_cots`."""

import dagster as dg

from aidsafe_dagster.assets.seed_cots import seed_cots
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.resources.engine import EngineResource
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.stages.dialogue_stage import Materialized, make_dialogue_stage
from aidsafe_dagster.stages.gates import GateConfig
from aidsafe_dagster.stages.stage_asset import stage_asset


@stage_asset(Stage.DELIBERATED_COTS, deps=[seed_cots])
def deliberated_cots(
    context: dg.AssetExecutionContext,
    config: GateConfig,
    engine: EngineResource,
    lake: LakeResource,
) -> Materialized:
    """Agents, in turn or at a round table, add thoughts and mend the response, until they agree or rounds are spent.

    AIDSAFE's deliberation: who added which thought in which round under which rules is kept.
    """
    return make_dialogue_stage(context, config, engine, lake, Stage.DELIBERATED_COTS)
