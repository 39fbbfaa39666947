"""Deliberated CoTs: agents take turns to add thoughts and improve the response.

AIDSAFE, deliberation. It ends when an agent agrees with what it sees, or when the rounds are spent.
A round is one turn of each agent. The paper uses two agents and at most three rounds.
The round table in `round_table.py` is the other style.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from aidsafe_dagster.recipe.agent_context import ContextKind, RowState, ask_agent
from aidsafe_dagster.recipe.answers import AnswerFormat, DeliberatorAnswer
from aidsafe_dagster.recipe.dialogue import Conversation, Dialogue
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import (
    DeliberatedCot,
    Prompt,
    Record,
    Role,
    SeedCot,
    Stage,
    Thought,
    Turn,
)
from aidsafe_dagster.recipe.seed_cots import join_thoughts, number_thoughts


class DeliberationSettings(Record):
    style: Literal["in_turn", "round_table"] = "in_turn"
    """How agents speak.

    `in_turn`: each agent sees the turns of those before it, and one that agrees ends it.
    `round_table`: all agents judge the same state, a moderator merges their opinions, and they all
    have to agree.
    """
    agents: int = Field(default=2, ge=1)
    max_rounds: int = Field(default=3, ge=0)
    """A round is one turn of each agent."""
    context: ContextKind = "fresh"
    """What deliberators and moderator are shown.

    `fresh`: prompt, intents, thoughts so far and current response.
    `chat`: all that was said so far, which takes up to twice the tokens.
    The refiner, who is to be impartial, is shown what `fresh` shows in either case.
    """


@dataclass(frozen=True)
class DeliberatorInputs:
    prompt: Prompt
    policies: Policies
    applicable: tuple[str, ...]
    thoughts: tuple[Thought, ...]
    response: str
    agent: str
    round: int
    last: bool
    """Whether this is the last turn of the budget."""
    at_table: bool = False
    """Whether all agents of the round judge the same state."""


def deliberate(
    conversation: Conversation,
    seed: SeedCot,
    settings: DeliberationSettings,
    stop_after: int | None = None,
) -> Dialogue[DeliberatedCot]:
    """Let agents deliberate in turn, until one of them agrees or the budget is spent.

    `stop_after` cuts the deliberation off after so many rounds, for an ablation. Its requests are
    then those of the full deliberation, so the journal answers them.
    """
    conversation.messages = seed.conversation
    thoughts, response = seed.thoughts, seed.response
    turns: list[Turn] = []
    agreed = False
    for round_, agent in _speaking_order(settings, stop_after):
        name = agent_name(agent)
        answer = yield from _take_turn(
            conversation,
            seed,
            settings,
            thoughts,
            response,
            round_,
            agent,
        )
        agreed = answer.verdict == "agree"
        new_thoughts: tuple[Thought, ...] = ()
        # Some models agree and add thoughts all the same. Agreement counts, the thoughts do not.
        if not agreed:
            new_thoughts = number_thoughts(
                answer.thoughts, after=len(thoughts), agent=name, round_=round_
            )
        turns.append(to_turn(name, round_, answer, new_thoughts))
        if agreed:
            break
        thoughts += new_thoughts
        response = answer.response
    return deliberated_record(
        conversation,
        seed,
        thoughts,
        response,
        tuple(turns),
        agreed=agreed,
    )


def _speaking_order(
    settings: DeliberationSettings, stop_after: int | None
) -> Iterator[tuple[int, int]]:
    """Yield (round, agent), both from 1."""
    rounds = rounds_to_hold(settings, stop_after)
    for round_ in range(1, rounds + 1):
        for agent in range(1, settings.agents + 1):
            yield round_, agent


def rounds_to_hold(settings: DeliberationSettings, stop_after: int | None) -> int:
    """Return the most rounds that a deliberation may take."""
    if stop_after is None:
        return settings.max_rounds
    return min(settings.max_rounds, stop_after)


def agent_name(agent: int) -> str:
    """Return the name of a deliberator by its number, from 1."""
    return f"deliberator_{agent}"


def to_turn(
    name: str, round_: int, answer: DeliberatorAnswer, new_thoughts: Iterable[Thought]
) -> Turn:
    """Return an agent's answer as a record, with the numbers of the thoughts that it added."""
    return Turn(
        agent=name,
        round=round_,
        verdict=answer.verdict,
        comment=answer.comment,
        added=tuple(thought.number for thought in new_thoughts),
    )


def _take_turn(
    conversation: Conversation,
    seed: SeedCot,
    settings: DeliberationSettings,
    thoughts: tuple[Thought, ...],
    response: str,
    round_: int,
    agent: int,
) -> Dialogue[DeliberatorAnswer]:
    context = conversation.context
    task = context.templates.task(
        Stage.DELIBERATED_COTS,
        Role.DELIBERATOR,
        round=round_,
        # Not the number of rounds to hold: a cut-off deliberation must send the same requests.
        rounds=settings.max_rounds,
        agent=agent,
        agents=settings.agents,
        # Without the chat, nobody has read the task before.
        first=settings.context == "fresh" or (round_, agent) == (1, 1),
        thoughts=len(thoughts),
    )
    inputs = DeliberatorInputs(
        prompt=seed,
        policies=context.policies,
        applicable=seed.applicable_policies,
        thoughts=thoughts,
        response=response,
        agent=agent_name(agent),
        round=round_,
        last=(round_, agent) == (settings.max_rounds, settings.agents),
    )
    answer_format = AnswerFormat(
        DeliberatorAnswer, {"rules": context.policies.rule_ids}, {}
    )
    return (
        yield from ask_agent(
            conversation,
            settings.context,
            RowState(seed, thoughts, response),
            Role.DELIBERATOR,
            task,
            answer_format,
            inputs,
            inputs.agent,
        )
    )


def deliberated_record(
    conversation: Conversation,
    seed: SeedCot,
    thoughts: tuple[Thought, ...],
    response: str,
    turns: tuple[Turn, ...],
    *,
    agreed: bool,
) -> DeliberatedCot:
    """Return the row. It is stalled if the agents agreed before anyone had added anything."""
    # The seed's thoughts and provenance are its own. Only what describes the prompt is inherited.
    seed_columns = {*Prompt.model_fields, "intents", "applicable_policies"}
    return DeliberatedCot(
        **seed.model_dump(include=seed_columns),
        **conversation.provenance(),
        thoughts=thoughts,
        response=response,
        turns=turns,
        outcome="consensus" if agreed else "budget",
        stalled=agreed and all(turn.verdict == "agree" for turn in turns),
        conversation=conversation.messages,
        cot_tokens=conversation.context.count_tokens(join_thoughts(thoughts)),
    )
