"""Asset `preference_pairs`."""

from functools import partial

import dagster as dg

from aidsafe_dagster.assets.described import stage_asset
from aidsafe_dagster.assets.dialogue_stage import Made, make_dialogue_stage
from aidsafe_dagster.assets.gates import GateConfig
from aidsafe_dagster.assets.refined_cots import refined_cots
from aidsafe_dagster.recipe.preference_pairs import whisper
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.resources.engine import EngineResource
from aidsafe_dagster.resources.lake import LakeResource


@stage_asset(Stage.PREFERENCE_PAIRS, deps=[refined_cots])
def preference_pairs(
    context: dg.AssetExecutionContext, config: GateConfig, engine: EngineResource, lake: LakeResource
) -> Made:
    """The refined CoT as chosen; as rejected, what the target model thinks under an ear-whisperer's bad belief.

    AIDSAFE's belief augmentation. Pairs whose sides do not differ are counted and left out.
    """
    dialogue = partial(whisper, settings=engine.load().pairs)
    return make_dialogue_stage(context, config, engine, lake, Stage.PREFERENCE_PAIRS, dialogue)
