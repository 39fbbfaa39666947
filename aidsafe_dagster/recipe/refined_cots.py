"""Refined CoTs: an impartial agent judges all thoughts, then writes the final CoT and response.

AIDSAFE, refinement. The refiner drops thoughts that are repetitive, redundant, deceptive
(plausible, but leading elsewhere) or inconsistent with the policies. Each final thought names the
deliberated thoughts that it draws on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from aidsafe_dagster.recipe.agent_context import ContextKind, RowState, ask_agent
from aidsafe_dagster.recipe.answers import (
    AnswerFormat,
    JudgementAnswer,
    RefinedThoughtAnswer,
    RefinerAnswer,
)
from aidsafe_dagster.recipe.bad_text import BadTextSettings
from aidsafe_dagster.recipe.dialogue import Conversation, Dialogue
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import (
    DeliberatedCot,
    Judgement,
    Prompt,
    RefinedCot,
    RefinedThought,
    Role,
    Stage,
    Thought,
    ThoughtVerdict,
)
from aidsafe_dagster.recipe.seed_cots import join_thoughts


@dataclass(frozen=True)
class RefinerInputs:
    prompt: Prompt
    policies: Policies
    applicable: tuple[str, ...]
    thoughts: tuple[Thought, ...]
    response: str


def refine(
    conversation: Conversation,
    deliberated: DeliberatedCot,
    context_kind: ContextKind = "fresh",
) -> Dialogue[RefinedCot]:
    """Judge every thought in order and write the final CoT from those that are kept: one call."""
    context = conversation.context
    conversation.messages = deliberated.conversation
    task = context.templates.task(
        Stage.REFINED_COTS,
        Role.REFINER,
        context=context_kind,
        thoughts=deliberated.thoughts,
        applicable=deliberated.applicable_policies,
    )
    # The schema asks for exactly one verdict per thought.
    answer_format = AnswerFormat(
        RefinerAnswer,
        choices={"rules": context.policies.rule_ids},
        counts={"thoughts": len(deliberated.thoughts)},
    )
    inputs = RefinerInputs(
        prompt=deliberated,
        policies=context.policies,
        applicable=deliberated.applicable_policies,
        thoughts=deliberated.thoughts,
        response=deliberated.response,
    )
    answer = yield from ask_agent(
        conversation,
        context_kind,
        RowState(deliberated, deliberated.thoughts, deliberated.response),
        Role.REFINER,
        task,
        answer_format,
        inputs,
        check=partial(_find_dropped_ground, context.bad_text),
    )
    judgements = _to_judgements(deliberated.thoughts, answer.judgements)
    thoughts = _to_refined_thoughts(answer.thoughts)
    inherited = {*Prompt.model_fields, "intents", "applicable_policies"}
    return RefinedCot(
        **deliberated.model_dump(include=inherited),
        **conversation.provenance(),
        thoughts=thoughts,
        response=answer.response,
        # Kept beside the verdicts, so that the row can be read without the deliberated one.
        deliberated_thoughts=deliberated.thoughts,
        judgements=judgements,
        rests_on_dropped=_rests_on_dropped(thoughts, judgements),
        conversation=conversation.messages,
        cot_tokens=context.count_tokens(join_thoughts(thoughts)),
        deliberated_cot_tokens=deliberated.cot_tokens,
    )


def _to_judgements(
    thoughts: Sequence[Thought], answers: Sequence[JudgementAnswer]
) -> tuple[Judgement, ...]:
    judgements = []
    for thought, answer in zip(thoughts, answers, strict=True):
        judgement = Judgement(
            thought=thought.number, verdict=answer.verdict, reason=answer.reason
        )
        judgements.append(judgement)
    return tuple(judgements)


def _to_refined_thoughts(
    answers: Sequence[RefinedThoughtAnswer],
) -> tuple[RefinedThought, ...]:
    thoughts = []
    for number, answer in enumerate(answers, start=1):
        thought = RefinedThought(
            number=number,
            text=answer.thought.strip(),
            rules=tuple(dict.fromkeys(answer.rules)),
            origins=tuple(dict.fromkeys(answer.origins)),
        )
        thoughts.append(thought)
    return tuple(thoughts)


def _rests_on_dropped(
    thoughts: Sequence[RefinedThought], judgements: Sequence[Judgement]
) -> bool:
    """Return True if a final thought has no kept thought among its origins."""
    kept = set()
    for judgement in judgements:
        if judgement.verdict is ThoughtVerdict.KEEP:
            kept.add(judgement.thought)
    # One kept origin is enough: the refiner may merge a kept thought with what it dropped.
    return any(kept.isdisjoint(thought.origins) for thought in thoughts)


def _find_dropped_ground(
    settings: BadTextSettings, answer: RefinerAnswer
) -> str | None:
    """Describe a final thought without a kept origin, for the refiner to mend."""
    if not settings.reject_rests_on_dropped:
        return None
    kept = set()
    for number, judgement in enumerate(answer.judgements, start=1):
        if judgement.verdict is ThoughtVerdict.KEEP:
            kept.add(number)
    for number, thought in enumerate(answer.thoughts, start=1):
        if kept.isdisjoint(thought.origins):
            return (
                f"'thought {number}' is made from thoughts alone that you do not keep"
            )
    return None
