"""A stage added from outside: an entry in the table, a dialogue, a template and an asset.

One agent says in a sentence what a refined chain of thought comes to. This is all the code that a
team writes for a stage of its own; `docs/architecture.md` refers to it as the example.
"""

from dataclasses import dataclass

import dagster as dg
from pydantic import Field

from aidsafe_dagster.recipe.answers import Answer, AnswerFormat
from aidsafe_dagster.recipe.dialogue import Conversation, Dialogue
from aidsafe_dagster.recipe.records import (
    FailureReason,
    Prompt,
    RefinedCot,
    Role,
    Row,
    Stage,
)
from aidsafe_dagster.recipe.row_gate import GateContext, RowCheck
from aidsafe_dagster.recipe.seed_cots import join_thoughts
from aidsafe_dagster.recipe.stages import (
    INTEGRITY,
    RecipeSettings,
    RecordsByStage,
    StageDefinition,
    add_stage,
)
from aidsafe_dagster.resources.engine import EngineResource
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.stages.dialogue_stage import make_dialogue_stage
from aidsafe_dagster.stages.gates import GateConfig
from aidsafe_dagster.stages.materialization import Materialized
from aidsafe_dagster.stages.stage_asset import stage_asset

GISTS = "gists"
ROLE = Role.MODERATOR


class Gist(Row):
    """A row of the table `gists`."""

    gist: str = Field(description="what the refined CoT comes to, in a sentence")


class GistAnswer(Answer):
    gist: str


@dataclass(frozen=True)
class GistInputs:
    refined: RefinedCot


def write_gist(
    conversation: Conversation, records: RecordsByStage, _: RecipeSettings
) -> Dialogue[Gist]:
    """Refined CoT → one sentence: one call."""
    refined: RefinedCot = records[Stage.REFINED_COTS]
    context = conversation.context
    thoughts = join_thoughts(refined.thoughts)
    task = context.templates.task(
        GISTS, "gist", prompt=refined.prompt, thoughts=thoughts
    )
    answer = yield from conversation.ask(
        ROLE, task, AnswerFormat(GistAnswer, {}, {}), GistInputs(refined)
    )
    return Gist(
        **refined.model_dump(include=set(Prompt.model_fields)),
        **conversation.provenance(),
        gist=answer.gist,
    )


def _says_nothing(row: Gist, _: GateContext) -> str | None:
    return None if row.gist.strip() else "blank gist"


add_stage(
    StageDefinition(
        name=GISTS,
        record=Gist,
        upstream=(Stage.REFINED_COTS,),
        roles=(ROLE,),
        templates=("gists/gist",),
        dialogue=write_gist,
        row_gate=(RowCheck(FailureReason.NULL_TEXT, _says_nothing),),
        suites=(INTEGRITY,),
        transcript=lambda row: f"## Prompt `{row.prompt_id}`\n\n{row.gist}",
    )
)


@stage_asset(GISTS)
def gists(
    context: dg.AssetExecutionContext,
    config: GateConfig,
    engine: EngineResource,
    lake: LakeResource,
) -> Materialized:
    """What each refined chain of thought comes to, in a sentence."""
    return make_dialogue_stage(context, config, engine, lake, GISTS)
