"""Deliberated CoTs: agents in turn add thoughts and mend the response, until one agrees or the rounds are spent.

AIDSAFE, deliberation. A round is one turn of each agent; the paper uses two agents and at most three rounds. The round
table (`round_table.py`) is the other style.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

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
    """`in_turn`: each agent sees what the one before said. `round_table`: all agents look at the same state, a
    moderator merges their opinions, and only the agreement of all is a consensus."""
    agents: int = Field(default=2, ge=1)
    max_rounds: int = Field(default=3, ge=0)
    """A round is one turn of each agent."""


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
    """No further turn follows this one."""
    at_table: bool = False
    """The other agents look at the same state meanwhile."""


def deliberate(
    conversation: Conversation,
    seed: SeedCot,
    settings: DeliberationSettings,
    stop_after: int | None = None,
) -> Dialogue[DeliberatedCot]:
    """Agents in turn; stops at the first agreement or when the budget is spent.

    `stop_after` ends it early, after so many rounds: an ablation's requests are then those of the full deliberation,
    and the journal answers them.
    """
    conversation.messages = seed.conversation
    thoughts, response, turns = seed.thoughts, seed.response, list[Turn]()
    for round_, agent in _speaking_order(settings):
        if stop_after is not None and round_ > stop_after:
            break
        answer = yield from _take_turn(
            conversation, seed, settings, thoughts, response, round_, agent
        )
        added = () if answer.verdict == "agree" else answer.thoughts
        new = number_thoughts(
            list(added), after=len(thoughts), agent=agent_name(agent), round_=round_
        )
        turns.append(
            Turn(
                agent=agent_name(agent),
                round=round_,
                verdict=answer.verdict,
                comment=answer.comment,
                added=tuple(thought.number for thought in new),
            )
        )
        if answer.verdict == "agree":
            break
        thoughts, response = thoughts + new, answer.response
    return deliberated_record(
        conversation, seed, thoughts, response, tuple(turns), agreed=_agreed(turns)
    )


def _speaking_order(settings: DeliberationSettings) -> list[tuple[int, int]]:
    return [
        (r, a) for r in range(1, settings.max_rounds + 1) for a in range(1, settings.agents + 1)
    ]


def agent_name(agent: int) -> str:
    return f"deliberator_{agent}"


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
        rounds=settings.max_rounds,
        agent=agent,
        agents=settings.agents,
        first=(round_, agent) == (1, 1),
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
    answer = yield from conversation.ask(
        Role.DELIBERATOR,
        task,
        AnswerFormat(DeliberatorAnswer, {"rules": context.policies.rule_ids}, {}),
        inputs,
    )
    return answer


def _agreed(turns: Sequence[Turn]) -> bool:
    return bool(turns) and turns[-1].verdict == "agree"


def deliberated_record(
    conversation: Conversation,
    seed: SeedCot,
    thoughts: tuple[Thought, ...],
    response: str,
    turns: tuple[Turn, ...],
    *,
    agreed: bool,
) -> DeliberatedCot:
    """The row; `stalled` when nobody had anything to add before the agreement."""
    context = conversation.context
    carried = seed.model_dump(include={*Prompt.model_fields, "intents", "applicable_policies"})
    return DeliberatedCot(
        **carried,
        **context.made(Stage.DELIBERATED_COTS, conversation),
        thoughts=thoughts,
        response=response,
        turns=turns,
        outcome="consensus" if agreed else "budget",
        stalled=agreed and all(turn.verdict == "agree" for turn in turns),
        conversation=conversation.messages,
        cot_tokens=context.count_tokens(join_thoughts(thoughts)),
    )
