"""The round table: N agents look at the same state, a moderator merges their opinions, until all of them agree.

An alternative to the paper's agents in turn. A round is one opinion of each agent; no agent hears another before all
have spoken. A thought keeps the name of the agent whose opinion it comes from.
"""

from dataclasses import dataclass

from aidsafe_dagster.recipe.answers import AnswerFormat, DeliberatorAnswer, ModeratorAnswer
from aidsafe_dagster.recipe.deliberated_cots import (
    DeliberationSettings,
    DeliberatorInputs,
    agent_name,
    deliberate,
    deliberated_record,
)
from aidsafe_dagster.recipe.dialogue import Conversation, Dialogue
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import (
    DeliberatedCot,
    Message,
    Prompt,
    Role,
    SeedCot,
    Stage,
    Thought,
    Turn,
)


@dataclass(frozen=True)
class Opinion:
    """What one agent says of the state, as the moderator hears it."""

    number: int
    answer: DeliberatorAnswer

    @property
    def agrees(self) -> bool:
        return self.answer.verdict == "agree"


@dataclass(frozen=True)
class ModeratorInputs:
    prompt: Prompt
    policies: Policies
    applicable: tuple[str, ...]
    thoughts: tuple[Thought, ...]
    response: str
    round: int
    opinions: tuple[Opinion, ...]


@dataclass(frozen=True)
class _State:
    thoughts: tuple[Thought, ...]
    response: str


def deliberate_at_round_table(
    conversation: Conversation,
    seed: SeedCot,
    settings: DeliberationSettings,
    stop_after: int | None = None,
) -> Dialogue[DeliberatedCot]:
    """Stops when all agree in one round, or when the budget is spent; see `deliberate` for `stop_after`."""
    conversation.messages = seed.conversation
    state, turns, agreed = _State(seed.thoughts, seed.response), list[Turn](), False
    for round_ in range(
        1, min(settings.max_rounds, settings.max_rounds if stop_after is None else stop_after) + 1
    ):
        opinions = yield from _hear_all(conversation, seed, settings, state, round_)
        agreed = all(opinion.agrees for opinion in opinions)
        merged = (
            state
            if agreed
            else (yield from _merge(conversation, seed, settings, state, round_, opinions))
        )
        turns += [
            _turn(opinion, round_, merged.thoughts[len(state.thoughts) :]) for opinion in opinions
        ]
        state = merged
        if agreed:
            break
    return deliberated_record(
        conversation, seed, state.thoughts, state.response, tuple(turns), agreed=agreed
    )


def _hear_all(
    conversation: Conversation,
    seed: SeedCot,
    settings: DeliberationSettings,
    state: _State,
    round_: int,
) -> Dialogue[tuple[Opinion, ...]]:
    """Each agent's opinion on the same state: none of them is in the conversation of another."""
    before: tuple[Message, ...] = conversation.messages
    opinions = []
    for agent in range(1, settings.agents + 1):
        conversation.messages = before
        opinions.append(
            Opinion(agent, (yield from _hear(conversation, seed, settings, state, round_, agent)))
        )
    conversation.messages = before
    return tuple(opinions)


def _hear(
    conversation: Conversation,
    seed: SeedCot,
    settings: DeliberationSettings,
    state: _State,
    round_: int,
    agent: int,
) -> Dialogue[DeliberatorAnswer]:
    context = conversation.context
    task = context.templates.task(
        Stage.DELIBERATED_COTS,
        "round_table",
        round=round_,
        rounds=settings.max_rounds,
        agent=agent,
        agents=settings.agents,
        thoughts=len(state.thoughts),
    )
    inputs = DeliberatorInputs(
        prompt=seed,
        policies=context.policies,
        applicable=seed.applicable_policies,
        thoughts=state.thoughts,
        response=state.response,
        agent=agent_name(agent),
        round=round_,
        last=round_ == settings.max_rounds,
        at_table=True,
    )
    formed = AnswerFormat(DeliberatorAnswer, {"rules": context.policies.rule_ids}, {})
    return (yield from conversation.ask(Role.DELIBERATOR, task, formed, inputs))


def _merge(
    conversation: Conversation,
    seed: SeedCot,
    settings: DeliberationSettings,
    state: _State,
    round_: int,
    opinions: tuple[Opinion, ...],
) -> Dialogue[_State]:
    context = conversation.context
    task = context.templates.task(
        Stage.DELIBERATED_COTS,
        Role.MODERATOR,
        round=round_,
        rounds=settings.max_rounds,
        agents=settings.agents,
        opinions=[{"number": o.number, **o.answer.model_dump()} for o in opinions],
    )
    formed = AnswerFormat(
        ModeratorAnswer, {"rules": context.policies.rule_ids}, {"agents": settings.agents}
    )
    inputs = ModeratorInputs(
        seed,
        context.policies,
        seed.applicable_policies,
        state.thoughts,
        state.response,
        round_,
        opinions,
    )
    answer = yield from conversation.ask(Role.MODERATOR, task, formed, inputs)
    added = tuple(
        Thought(
            number=number,
            text=merged.thought.strip(),
            rules=tuple(dict.fromkeys(merged.rules)),
            agent=agent_name(merged.author),
            round=round_,
        )
        for number, merged in enumerate(answer.thoughts, start=len(state.thoughts) + 1)
    )
    return _State(state.thoughts + added, answer.response)


def _turn(opinion: Opinion, round_: int, added: tuple[Thought, ...]) -> Turn:
    name = agent_name(opinion.number)
    return Turn(
        agent=name,
        round=round_,
        verdict=opinion.answer.verdict,
        comment=opinion.answer.comment,
        added=tuple(thought.number for thought in added if thought.agent == name),
    )


DELIBERATION_STYLES = {"in_turn": deliberate, "round_table": deliberate_at_round_table}
"""The dialogue of each `DeliberationSettings.style`."""
