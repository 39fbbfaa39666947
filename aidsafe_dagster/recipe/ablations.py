"""Ablations: the same prompts through variants of the recipe, each final CoT graded by the same judges.

They answer what the paper leaves open: how many rounds, whether the refiner pays, turns against a round table, one
model against several. A variant begins with the rows that the pipeline made, so what it shares with the pipeline, or
with a variant before it, is answered by the journal and not asked again.
"""

from collections.abc import Generator
from dataclasses import dataclass
from statistics import fmean
from typing import Any, TypeVar

from pydantic import Field

from aidsafe_dagster.recipe.cot_grades import GradingSettings, subject_of
from aidsafe_dagster.recipe.deliberated_cots import DeliberationSettings
from aidsafe_dagster.recipe.dialogue import Conversation, Dialogue, DialogueContext
from aidsafe_dagster.recipe.errors import RowFailed
from aidsafe_dagster.recipe.judging import grade, policy_score
from aidsafe_dagster.recipe.prompt_kinds import classify_prompt
from aidsafe_dagster.recipe.records import (
    METRICS,
    DeliberatedCot,
    Prompt,
    PromptKind,
    Record,
    RefinedCot,
    SeedCot,
    SingleLlmCot,
    Stage,
    Usage,
    Version,
)
from aidsafe_dagster.recipe.refined_cots import refine
from aidsafe_dagster.recipe.seed_cots import seed

T = TypeVar("T")
Cot = SingleLlmCot | DeliberatedCot | RefinedCot


@dataclass(frozen=True)
class Variant:
    """One way to make a CoT from a prompt."""

    name: str
    deliberation: DeliberationSettings = DeliberationSettings()
    stop_after: int | None = None
    """Rounds after which deliberation is cut off; 0: the seed is refined as it is."""
    refined: bool = True
    """False: the deliberated CoT is final."""
    single: bool = False
    """One call of one model, without deliberation."""


@dataclass(frozen=True)
class Redraws:
    """Where the pipeline had to draw anew for a prompt, by stage: a variant asks as the pipeline did."""

    by_stage: dict[Stage, tuple[int, ...]]

    def of(self, stage: Stage) -> tuple[int, ...]:
        return self.by_stage.get(stage, ())


class AblationRow(Record):
    """One prompt under one variant. Table of an ablation."""

    variant: str
    prompt_id: str
    batch: str
    prompt_kind: PromptKind
    simulated: bool
    relevance: float = Field(description="mean of the judges, 1 to 5; so are the next five")
    coherence: float
    completeness: float
    policy_to_cot: float
    policy_to_response: float
    response_to_cot: float
    policy_score: float = Field(description="mean of policy_to_cot and policy_to_response")
    cot_tokens: int
    thoughts: int
    turns: int = Field(description="opinions of deliberators")
    outcome: str = Field(description="consensus, budget, or empty without deliberation")
    refusal: str = Field(
        description="how far the response declines: none, partial or full, by the first judge"
    )
    usage: Usage = Field(
        description="cost of making the CoT, its grading left out, replayed calls counted in"
    )


def run_variant(
    context: DialogueContext,
    prompt: Prompt,
    variant: Variant,
    redraws: Redraws,
    grading: GradingSettings,
) -> Dialogue[AblationRow]:
    """The prompt through the variant, then a grade per judge.

    Raises:
        RowFailed: a role gave no valid answer; the detail begins with the stage.
    """
    made, seeded, turns = yield from _made(context, prompt, variant, redraws)
    judging = Conversation(context, Stage.COT_GRADES, prompt, redraws.of(Stage.COT_GRADES))
    version: Version = (
        "single_llm" if variant.single else "refined" if variant.refined else "deliberated"
    )
    grades = []
    for judge in grading.roles:
        subject = subject_of(version, made[-1])
        grades.append(
            (yield from _at(Stage.COT_GRADES, grade(judging, judge, subject, grading.temperature)))
        )
    final = made[-1]
    return AblationRow(
        variant=variant.name,
        prompt_id=prompt.prompt_id,
        batch=prompt.batch,
        prompt_kind=classify_prompt(seeded, context.policies),
        simulated=context.simulated,
        **{metric: fmean(getattr(g, metric).score for g in grades) for metric in METRICS},
        policy_score=policy_score(grades),
        cot_tokens=final.cot_tokens,
        thoughts=len(final.thoughts),
        turns=turns.turns,
        outcome=turns.outcome,
        refusal=grades[0].refusal,
        usage=sum((row.usage for row in made), Usage() if variant.single else seeded.usage),
    )


@dataclass(frozen=True)
class _Turns:
    turns: int = 0
    outcome: str = ""


def _made(
    context: DialogueContext, prompt: Prompt, variant: Variant, redraws: Redraws
) -> Dialogue[tuple[list[Cot], SeedCot, _Turns]]:
    """The CoTs of a variant, the final one last; the seed, which tells the kind of prompt; how it was deliberated."""

    def conversation(stage: Stage, row: Prompt) -> Conversation:
        return Conversation(context, stage, row, redraws.of(stage))

    seeded = yield from _at(Stage.SEED_COTS, seed(conversation(Stage.SEED_COTS, prompt), prompt))
    if variant.single:
        stage = Stage.SINGLE_LLM_COTS
        return (
            [(yield from _at(stage, answer_directly(conversation(stage, prompt), prompt)))],
            seeded,
            _Turns(),
        )
    deliberate = DELIBERATION_STYLES[variant.deliberation.style]
    deliberated = yield from _at(
        Stage.DELIBERATED_COTS,
        deliberate(
            conversation(Stage.DELIBERATED_COTS, seeded),
            seeded,
            variant.deliberation,
            variant.stop_after,
        ),
    )
    made: list[Cot] = [deliberated]
    if variant.refined:
        refining = refine(conversation(Stage.REFINED_COTS, deliberated), deliberated)
        made.append((yield from _at(Stage.REFINED_COTS, refining)))
    return (
        made,
        seeded,
        _Turns(len(deliberated.turns), deliberated.outcome if deliberated.turns else ""),
    )


def _at(stage: Stage, dialogue: Dialogue[T]) -> Generator[Any, Any, T]:
    """A part of a longer dialogue, whose failure says where it happened."""
    try:
        return (yield from dialogue)
    except RowFailed as failed:
        raise RowFailed(failed.reason, f"{stage}: {failed.detail}") from failed
