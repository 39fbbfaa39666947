"""Asset `policy_counterfactuals`."""

from collections.abc import Iterator

import dagster as dg

from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.recipe.stages import stage_named
from aidsafe_dagster.resources.engine import EngineResource
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.stages.dialogue_stage import make_dialogue_stage
from aidsafe_dagster.stages.gates import GateConfig
from aidsafe_dagster.stages.materialization import Materialized
from aidsafe_dagster.stages.metadata import counterfactual_metadata
from aidsafe_dagster.stages.stage_asset import stage_asset

_OFF = (
    f"{Stage.POLICY_COUNTERFACTUALS} is off: no second set of policies is named. "
    'Nothing is asked or written. To turn it on: [counterfactuals] policies = "…"'
)


@stage_asset(Stage.POLICY_COUNTERFACTUALS)
def policy_counterfactuals(
    context: dg.AssetExecutionContext,
    config: GateConfig,
    engine: EngineResource,
    lake: LakeResource,
) -> Iterator[Materialized]:
    """One prompt under two sets of policies whose right answers differ.

    A share of the prompts is answered under the set that `[counterfactuals]` names, by the same
    recipe. A pair is kept where each answer is right under its own set and wrong under the other,
    as the judges see it. So a trained model learns to read its policies. Off without such a set.
    """
    stage = stage_named(Stage.POLICY_COUNTERFACTUALS)
    if not stage.is_on(engine.snapshot.settings):
        context.log.info(_OFF)
        return
    yield make_dialogue_stage(
        context, config, engine, lake, stage.name, counterfactual_metadata
    )
