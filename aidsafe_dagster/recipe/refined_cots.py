"""Refined CoTs: an impartial agent judges all thoughts, then writes the final CoT and response.

AIDSAFE, refinement. The refiner drops thoughts that are repetitive, redundant, deceptive
(plausible, but leading elsewhere) or inconsistent with the policies. Each final thought names the
deliberated thoughts that it draws on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

from aidsafe_dagster.recipe.agent_context import RowState, ask_agent
from aidsafe_dagster.recipe.answers import (
    AnswerFormat,
    JudgementAnswer,
    RefinedThoughtAnswer,
    RefinerAnswer,
)
from aidsafe_dagster.recipe.bad_answers import BadText
from aidsafe_dagster.recipe.dialogue import Conversation, Dialogue, DialogueContext
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import (
    DeliberatedCot,
    FailureReason,
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
    conversation: Conversation, deliberated: DeliberatedCot
) -> Dialogue[RefinedCot]:
    """Judge every thought in order and write the final CoT from those that are kept: one call.

    The refiner is shown the state of the row and never the chat, in which the words of the agents
    would stand as its own.
    """
    context = conversation.context
    conversation.messages = deliberated.conversation
    task = context.templates.task(
        Stage.REFINED_COTS,
        Role.REFINER,
        thoughts=deliberated.thoughts,
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
        "fresh",
        RowState(deliberated, deliberated.thoughts, deliberated.response),
        Role.REFINER,
        task,
        answer_format,
        inputs,
        check=partial(_check_refinement, context, deliberated),
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
        rests_on_dropped=_find_groundless(answer) > 0,
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


def _check_refinement(
    context: DialogueContext, deliberated: DeliberatedCot, answer: RefinerAnswer
) -> None:
    """Check what only the whole refinement shows, so that the refiner can mend it.

    Raises:
        BadText: a final thought has no kept origin, or a policy that applies is not covered.
    """
    settings = context.bad_text
    groundless = _find_groundless(answer)
    if groundless and settings.reject_rests_on_dropped:
        raise BadText(
            f"'thought {groundless}' is made from thoughts alone that you do not keep"
        )
    rules = chain.from_iterable(thought.rules for thought in answer.thoughts)
    missing = context.policies.uncovered(deliberated.applicable_policies, rules)
    if missing and settings.require_policy_coverage:
        listing = ", ".join(missing)
        raise BadText(
            f"no final thought has a rule of {listing}",
            FailureReason.POLICY_NOT_COVERED,
        )


def _find_groundless(answer: RefinerAnswer) -> int:
    """Return the number of the first final thought without a kept origin, 0 if all have one."""
    kept = set()
    for number, judgement in enumerate(answer.judgements, start=1):
        if judgement.verdict is ThoughtVerdict.KEEP:
            kept.add(number)
    for number, thought in enumerate(answer.thoughts, start=1):
        # One kept origin is enough: the refiner may merge a kept thought with what it dropped.
        if kept.isdisjoint(thought.origins):
            return number
    return 0
