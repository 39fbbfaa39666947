"""Seed CoTs: one agent splits the prompt into intents, then writes first thoughts and a response.

AIDSAFE, intent decomposition and initialization. An intent is explicit or implicit, benign or
malicious. Policies apply to single intents, so a benign request beside a malicious one is answered.
"""

from collections.abc import Sequence
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
    """Split the prompt into intents, then write the seed CoT and the first response: two calls."""
    context = conversation.context
    intents = yield from _decompose(conversation, prompt)
    cited: list[str] = []
    for intent in intents:
        cited.extend(intent.policies)
    # Settled here for good: all later stages inherit the policies that the row has to cover.
    applicable = context.policies.applicable(prompt.category, tuple(cited))
    task = context.templates.task(
        Stage.SEED_COTS, Role.INITIALIZER, applicable=applicable
    )
    answer_format = AnswerFormat(
        InitializerAnswer, {"rules": context.policies.rule_ids}, {}
    )
    inputs = InitializerInputs(
        prompt=prompt,
        policies=context.policies,
        intents=intents,
        applicable=applicable,
    )
    answer = yield from conversation.ask(Role.INITIALIZER, task, answer_format, inputs)
    thoughts = number_thoughts(answer.thoughts, after=0, agent="initializer", round_=0)
    return SeedCot(
        **prompt.model_dump(),
        **conversation.provenance(),
        intents=intents,
        applicable_policies=applicable,
        thoughts=thoughts,
        response=answer.response,
        conversation=conversation.messages,
        cot_tokens=context.count_tokens(join_thoughts(thoughts)),
    )


def number_thoughts(
    answers: Sequence[ThoughtAnswer], *, after: int, agent: str, round_: int
) -> tuple[Thought, ...]:
    """Return an answer's thoughts as records, numbered from `after` + 1."""
    thoughts = []
    for number, answer in enumerate(answers, start=after + 1):
        thought = Thought(
            number=number,
            text=answer.thought.strip(),
            rules=tuple(dict.fromkeys(answer.rules)),
            agent=agent,
            round=round_,
        )
        thoughts.append(thought)
    return tuple(thoughts)


def join_thoughts(thoughts: Sequence[Thought | RefinedThought]) -> str:
    """Return the chain of thought as one text, with a paragraph per thought."""
    return "\n\n".join(thought.text for thought in thoughts)


def _decompose(
    conversation: Conversation, prompt: Prompt
) -> Dialogue[tuple[Intent, ...]]:
    context = conversation.context
    task = context.templates.task(
        Stage.SEED_COTS, Role.INTENT_DECOMPOSER, prompt=context.templates.shown(prompt)
    )
    answer_format = AnswerFormat(
        IntentDecomposerAnswer, {"policies": context.policies.ids}, {}
    )
    inputs = IntentDecomposerInputs(prompt, context.policies)
    answer = yield from conversation.ask(
        Role.INTENT_DECOMPOSER, task, answer_format, inputs
    )
    intents = []
    for item in answer.intents:
        intent = Intent(
            text=item.intent,
            kind=item.kind,
            harm=item.harm,
            # Models repeat policies now and then.
            policies=tuple(dict.fromkeys(item.policies)),
        )
        intents.append(intent)
    return tuple(intents)
