"""Asset `cot_grades`."""

import dagster as dg

from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.resources.engine import EngineResource
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.stages.dialogue_stage import make_dialogue_stage
from aidsafe_dagster.stages.gates import GateConfig
from aidsafe_dagster.stages.materialization import Materialized
from aidsafe_dagster.stages.metadata import grade_metadata
from aidsafe_dagster.stages.stage_asset import stage_asset


@stage_asset(Stage.COT_GRADES)
def cot_grades(
    context: dg.AssetExecutionContext,
    config: GateConfig,
    engine: EngineResource,
    lake: LakeResource,
) -> Materialized:
    """Six scores from 1 to 5 with reasons, for the refined, the deliberated and the single-LLM CoT.

    AIDSAFE's auto-grader: relevance, coherence, completeness, and the faithfulness of CoT and
    response. Which version a judge prefers is asked in both orders. An answer that does not parse
    is counted and never scored.
    """
    return make_dialogue_stage(
        context, config, engine, lake, Stage.COT_GRADES, grade_metadata
    )
