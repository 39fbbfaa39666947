"""Ablations: the same prompts through variants of the recipe, graded by the same judges.

They answer what the paper leaves open: how many rounds to hold, whether the refiner pays, agents in
turn or at a round table, one model or several. A variant sends the same requests as the pipeline
for the part that they share, so the journal answers those and no call is made twice.
"""

from dataclasses import dataclass
from statistics import fmean
from typing import TypeVar

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
    Turn,
    Usage,
    Version,
)
from aidsafe_dagster.recipe.refined_cots import refine
from aidsafe_dagster.recipe.round_table import DELIBERATION_STYLES
from aidsafe_dagster.recipe.seed_cots import seed
from aidsafe_dagster.recipe.single_llm_cots import answer_directly

T = TypeVar("T")
Cot = SingleLlmCot | DeliberatedCot | RefinedCot


@dataclass(frozen=True)
class Variant:
    """One way to make a CoT from a prompt."""

    name: str
    deliberation: DeliberationSettings = DeliberationSettings()
    stop_after: int | None = None
    """Rounds after which deliberation is cut off. 0: the seed is refined as it is."""
    refined: bool = True
    """Whether a refiner follows. Otherwise the deliberated CoT is final."""
    single: bool = False
    """Whether the CoT comes from a single call, without deliberation."""


@dataclass(frozen=True)
class Redraws:
    """The calls from which the pipeline drew anew for a prompt, by stage.

    A variant needs them to send the same requests as the pipeline.
    """

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
    relevance: float = Field(
        description="mean of the judges, 1 to 5; so are the next five"
    )
    coherence: float
    completeness: float
    policy_to_cot: float
    policy_to_response: float
    response_to_cot: float
    policy_score: float = Field(
        description="mean of policy_to_cot and policy_to_response"
    )
    cot_tokens: int
    thoughts: int
    turns: int = Field(description="opinions of deliberators")
    outcome: str = Field(description="consensus, budget, or empty without deliberation")
    refusal: str = Field(
        description="how far the response declines, by the first judge: none, partial or full"
    )
    usage: Usage = Field(
        description="cost of making the CoT, without grading, replayed calls included"
    )


@dataclass(frozen=True)
class _Chain:
    """The rows that lead to a variant's final CoT."""

    seed: SeedCot
    """Holds the intents, from which the kind of the prompt follows."""
    final: Cot
    usage: Usage
    """Cost of all rows that the final CoT rests on."""
    deliberated: DeliberatedCot | None = None


def run_variant(
    context: DialogueContext,
    prompt: Prompt,
    variant: Variant,
    redraws: Redraws,
    grading: GradingSettings,
) -> Dialogue[AblationRow]:
    """Run a prompt through a variant and let each judge grade the final CoT.

    Raises:
        RowFailed: a role gave no valid answer. The detail begins with the stage.
    """
    chain = yield from _generate(context, prompt, variant, redraws)
    final = chain.final
    subject = subject_of(_version(final), final)
    # A judge's seed does not depend on the turn, so the pipeline's grade of the same text is
    # replayed here, wherever it came in the pipeline's own dialogue.
    judging = Conversation(
        context, Stage.COT_GRADES, prompt, redraws.of(Stage.COT_GRADES)
    )
    grades = []
    for judge in grading.roles:
        grading_call = grade(judging, judge, subject, grading.temperature)
        answer = yield from _name_stage(Stage.COT_GRADES, grading_call)
        grades.append(answer)
    turns: tuple[Turn, ...] = ()
    outcome = ""
    if chain.deliberated is not None:
        turns = chain.deliberated.turns
        # A row without turns says "budget", although no budget was spent.
        if turns:
            outcome = chain.deliberated.outcome
    scores = {}
    for metric in METRICS:
        scores[metric] = fmean(getattr(answer, metric).score for answer in grades)
    # Words have no mean, so `refusal` is that of the first judge.
    return AblationRow(
        variant=variant.name,
        prompt_id=prompt.prompt_id,
        batch=prompt.batch,
        prompt_kind=classify_prompt(chain.seed, context.policies),
        simulated=context.simulated,
        **scores,
        policy_score=policy_score(grades),
        cot_tokens=final.cot_tokens,
        thoughts=len(final.thoughts),
        turns=len(turns),
        outcome=outcome,
        refusal=grades[0].refusal,
        usage=chain.usage,
    )


def _version(final: Cot) -> Version:
    if isinstance(final, SingleLlmCot):
        return "single_llm"
    if isinstance(final, RefinedCot):
        return "refined"
    return "deliberated"


def _generate(
    context: DialogueContext, prompt: Prompt, variant: Variant, redraws: Redraws
) -> Dialogue[_Chain]:
    def converse(stage: Stage, row: Prompt) -> Conversation:
        return Conversation(context, stage, row, redraws.of(stage))

    # The single-LLM variant does not use the seed, but the kind of the prompt follows from it.
    seeding = seed(converse(Stage.SEED_COTS, prompt), prompt)
    seed_cot = yield from _name_stage(Stage.SEED_COTS, seeding)
    if variant.single:
        answering = answer_directly(converse(Stage.SINGLE_LLM_COTS, prompt), prompt)
        single = yield from _name_stage(Stage.SINGLE_LLM_COTS, answering)
        # The seed is left out of the cost, because the CoT does not rest on it.
        return _Chain(seed_cot, single, single.usage)

    deliberate = DELIBERATION_STYLES[variant.deliberation.style]
    deliberation = deliberate(
        converse(Stage.DELIBERATED_COTS, seed_cot),
        seed_cot,
        variant.deliberation,
        variant.stop_after,
    )
    deliberated = yield from _name_stage(Stage.DELIBERATED_COTS, deliberation)
    usage = seed_cot.usage + deliberated.usage
    if not variant.refined:
        return _Chain(seed_cot, deliberated, usage, deliberated)

    refinement = refine(converse(Stage.REFINED_COTS, deliberated), deliberated)
    refined = yield from _name_stage(Stage.REFINED_COTS, refinement)
    return _Chain(seed_cot, refined, usage + refined.usage, deliberated)


def _name_stage(stage: Stage, dialogue: Dialogue[T]) -> Dialogue[T]:
    """Run one part of a longer dialogue. If it fails, its failure names the stage."""
    try:
        return (yield from dialogue)
    except RowFailed as failure:
        # All parts fail as rows of one ablation, so without the name nobody could tell which part.
        raise RowFailed(failure.reason, f"{stage}: {failure.detail}") from failure
