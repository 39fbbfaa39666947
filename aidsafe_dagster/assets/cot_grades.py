"""Asset `cot_grades`."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from aidsafe_dagster.assets.deliberated_cots import deliberated_cots
from aidsafe_dagster.assets.refined_cots import refined_cots
from aidsafe_dagster.assets.single_llm_cots import single_llm_cots
from aidsafe_dagster.engines.driver.rows import RecordsByStage
from aidsafe_dagster.lake.lake import RECORDS
from aidsafe_dagster.recipe.records import RefinedCot, Stage
from aidsafe_dagster.resources.engine import EngineResource
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.stages.dialogue_stage import Materialized, StageRun, begin
from aidsafe_dagster.stages.dialogues import case_of
from aidsafe_dagster.stages.gates import GateConfig
from aidsafe_dagster.stages.metadata import grade_metadata
from aidsafe_dagster.stages.stage_asset import stage_asset
from aidsafe_dagster.stages.stages_ahead import stages_ahead


@stage_asset(Stage.COT_GRADES, deps=[refined_cots, deliberated_cots, single_llm_cots])
def cot_grades(
    context: dg.AssetExecutionContext,
    config: GateConfig,
    engine: EngineResource,
    lake: LakeResource,
) -> Materialized:
    """Six scores from 1 to 5 with reasons, for the refined, the deliberated and the single-LLM CoT, and who wins.

    AIDSAFE's auto-grader: relevance, coherence, completeness, and the faithfulness of CoT and response. Preferences are
    asked in both orders. An answer that does not parse is counted and never scored.
    """
    making = begin(context, config, engine, lake, Stage.COT_GRADES)
    settings, cases = engine.load(), []
    for row, trail in _trails(making):
        conversation = making.conversation(row)
        cases.append(case_of(Stage.COT_GRADES, conversation, trail, settings))
    results, progress = making.drive(cases, then=stages_ahead(making))
    return making.store([case.conversation for case in cases], results, progress, grade_metadata)


def _trails(making: StageRun) -> Iterator[tuple[RefinedCot, RecordsByStage]]:
    """What there is on each prompt, its refined CoT in any case."""
    refined = {row.prompt_id: row for row in making.read(Stage.REFINED_COTS, RefinedCot)}
    beside = {
        stage: _by_prompt(making, stage)
        for stage in (Stage.DELIBERATED_COTS, Stage.SINGLE_LLM_COTS)
    }
    for prompt_id, row in refined.items():
        others: dict[str, Any] = {
            stage: rows[prompt_id] for stage, rows in beside.items() if prompt_id in rows
        }
        yield row, {Stage.REFINED_COTS: row, **others}


def _by_prompt(making: StageRun, stage: Stage) -> Mapping[str, Any]:
    """None of a stage that was not made."""
    rows = making.read(stage, RECORDS[stage]) if making.lake.has(stage, making.batch) else []
    return {row.prompt_id: row for row in rows}
