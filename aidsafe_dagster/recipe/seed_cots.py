"""Seed CoTs: one agent takes the prompt apart into intents, then thinks and answers first.

AIDSAFE, intent decomposition and initialization. Intents are explicit or implicit, benign or malicious, so that policy
is applied per intent and less is refused.
"""

from dataclasses import dataclass

from aidsafe_dagster.recipe.answers import (
    AnswerFormat,
    InitializerAnswer,
    IntentDecomposerAnswer,
    ThoughtAnswer,
)
from aidsafe_dagster.recipe.dialogue import Conversation, Dialogue
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import (
    Intent,
    Prompt,
    RefinedThought,
    Role,
    SeedCot,
    Stage,
    Thought,
)


@dataclass(frozen=True)
class IntentDecomposerInputs:
    prompt: Prompt
    policies: Policies


@dataclass(frozen=True)
class InitializerInputs:
    prompt: Prompt
    policies: Policies
    intents: tuple[Intent, ...]
    applicable: tuple[str, ...]


def seed(conversation: Conversation, prompt: Prompt) -> Dialogue[SeedCot]:
    """Prompt → intents → seed CoT and response: two calls."""
    context = conversation.context
    intents = yield from _decompose(conversation, prompt)
    named = tuple(policy for intent in intents for policy in intent.policies)
    applicable = context.policies.applicable(prompt.category, named)
    answer = yield from conversation.ask(
        Role.INITIALIZER,
        context.templates.task(Stage.SEED_COTS, Role.INITIALIZER, applicable=applicable),
        AnswerFormat(InitializerAnswer, {"rules": context.policies.rule_ids}, {}),
        InitializerInputs(prompt, context.policies, intents, applicable),
    )
    thoughts = number_thoughts(answer.thoughts, after=0, agent="initializer", round_=0)
    return SeedCot(
        **prompt.model_dump(),
        **context.made(Stage.SEED_COTS, conversation),
        intents=intents,
        applicable_policies=applicable,
        thoughts=thoughts,
        response=answer.response,
        conversation=conversation.messages,
        cot_tokens=context.count_tokens(join_thoughts(thoughts)),
    )


def number_thoughts(
    answers: list[ThoughtAnswer], *, after: int, agent: str, round_: int
) -> tuple[Thought, ...]:
    """An answer's thoughts as records, numbered on from `after`."""
    return tuple(
        Thought(
            number=number,
            text=a.thought.strip(),
            rules=tuple(dict.fromkeys(a.rules)),
            agent=agent,
            round=round_,
        )
        for number, a in enumerate(answers, start=after + 1)
    )


def join_thoughts(thoughts: tuple[Thought, ...] | tuple[RefinedThought, ...]) -> str:
    """The chain of thought as one text, a paragraph a thought."""
    return "\n\n".join(thought.text for thought in thoughts)


def _decompose(conversation: Conversation, prompt: Prompt) -> Dialogue[tuple[Intent, ...]]:
    context = conversation.context
    answer = yield from conversation.ask(
        Role.INTENT_DECOMPOSER,
        context.templates.task(Stage.SEED_COTS, Role.INTENT_DECOMPOSER, prompt=prompt.prompt),
        AnswerFormat(IntentDecomposerAnswer, {"policies": context.policies.ids}, {}),
        IntentDecomposerInputs(prompt, context.policies),
    )
    return tuple(
        Intent(text=i.intent, kind=i.kind, harm=i.harm, policies=tuple(dict.fromkeys(i.policies)))
        for i in answer.intents
    )
