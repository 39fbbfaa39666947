"""Refined CoTs: an impartial agent judges the thoughts of all rounds, then writes the final CoT and response.

AIDSAFE, refinement. Dropped are the repetitive, the redundant, the deceptive (plausible but leading elsewhere) and the
policy-inconsistent. Each final thought names the deliberated thoughts it is made from.
"""

from dataclasses import dataclass

from aidsafe_dagster.recipe.answers import AnswerFormat, RefinedThoughtAnswer, RefinerAnswer
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


def refine(conversation: Conversation, deliberated: DeliberatedCot) -> Dialogue[RefinedCot]:
    """One call: a verdict per thought, in order, and what is left of them as the final CoT."""
    context = conversation.context
    conversation.messages = deliberated.conversation
    answer = yield from conversation.ask(
        Role.REFINER,
        context.templates.task(
            Stage.REFINED_COTS,
            Role.REFINER,
            thoughts=deliberated.thoughts,
            applicable=deliberated.applicable_policies,
        ),
        AnswerFormat(
            RefinerAnswer,
            {"rules": context.policies.rule_ids},
            {"thoughts": len(deliberated.thoughts)},
        ),
        RefinerInputs(
            deliberated,
            context.policies,
            deliberated.applicable_policies,
            deliberated.thoughts,
            deliberated.response,
        ),
    )
    return _record(conversation, deliberated, answer)


def _record(
    conversation: Conversation, deliberated: DeliberatedCot, answer: RefinerAnswer
) -> RefinedCot:
    context = conversation.context
    judgements = tuple(
        Judgement(thought=thought.number, verdict=given.verdict, reason=given.reason)
        for thought, given in zip(deliberated.thoughts, answer.judgements, strict=True)
    )
    kept = {j.thought for j in judgements if j.verdict is ThoughtVerdict.KEEP}
    thoughts = tuple(_refined(number, a) for number, a in enumerate(answer.thoughts, start=1))
    return RefinedCot(
        **deliberated.model_dump(include={*Prompt.model_fields, "intents", "applicable_policies"}),
        **context.made(Stage.REFINED_COTS, conversation),
        thoughts=thoughts,
        response=answer.response,
        deliberated_thoughts=deliberated.thoughts,
        judgements=judgements,
        rests_on_dropped=any(kept.isdisjoint(thought.origins) for thought in thoughts),
        conversation=conversation.messages,
        cot_tokens=context.count_tokens(join_thoughts(thoughts)),
        deliberated_cot_tokens=deliberated.cot_tokens,
    )


def _refined(number: int, answer: RefinedThoughtAnswer) -> RefinedThought:
    return RefinedThought(
        number=number,
        text=answer.thought.strip(),
        rules=tuple(dict.fromkeys(answer.rules)),
        origins=tuple(dict.fromkeys(answer.origins)),
    )
