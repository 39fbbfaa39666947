"""The round table: agents judge the same state and a moderator merges their opinions.

It is an alternative to the paper's agents in turn, and it ends when all agents agree. A round is
one opinion of each agent, and no agent hears another before all have spoken. A thought keeps the
name of the agent whose opinion it comes from.
"""

from dataclasses import dataclass

from aidsafe_dagster.recipe.agent_context import RowState, ask_agent
from aidsafe_dagster.recipe.answers import (
    AnswerFormat,
    DeliberatorAnswer,
    ModeratorAnswer,
)
from aidsafe_dagster.recipe.deliberated_cots import (
    DeliberationSettings,
    DeliberatorInputs,
    agent_name,
    deliberate,
    deliberated_record,
    rounds_to_hold,
    to_turn,
)
from aidsafe_dagster.recipe.dialogue import Conversation, Dialogue
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import (
    DeliberatedCot,
    Prompt,
    Role,
    SeedCot,
    Stage,
    Thought,
    Turn,
)


@dataclass(frozen=True)
class Opinion:
    """One agent's opinion of the state, as the moderator hears it."""

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
    """Let agents deliberate at a round table, until all agree in one round or the budget is spent.

    For `stop_after`, see `deliberate`.
    """
    conversation.messages = seed.conversation
    state = _State(seed.thoughts, seed.response)
    turns: list[Turn] = []
    agreed = False
    for round_ in range(1, rounds_to_hold(settings, stop_after) + 1):
        opinions = yield from _hear_all(
            conversation,
            seed,
            settings,
            state,
            round_,
        )
        agreed = all(opinion.agrees for opinion in opinions)
        new_thoughts: tuple[Thought, ...] = ()
        if not agreed:
            merged = yield from _merge(
                conversation,
                seed,
                settings,
                state,
                round_,
                opinions,
            )
            # The moderator only appends, so whatever follows the old thoughts is new.
            new_thoughts = merged.thoughts[len(state.thoughts) :]
            state = merged
        for opinion in opinions:
            name = agent_name(opinion.number)
            own_thoughts = [
                thought for thought in new_thoughts if thought.agent == name
            ]
            turns.append(to_turn(name, round_, opinion.answer, own_thoughts))
        if agreed:
            break
    return deliberated_record(
        conversation,
        seed,
        state.thoughts,
        state.response,
        tuple(turns),
        agreed=agreed,
    )


def _hear_all(
    conversation: Conversation,
    seed: SeedCot,
    settings: DeliberationSettings,
    state: _State,
    round_: int,
) -> Dialogue[tuple[Opinion, ...]]:
    """Return each agent's opinion. All start from the same messages, so none hears another."""
    messages = conversation.messages
    is_chat = settings.context == "chat"
    opinions = []
    for agent in range(1, settings.agents + 1):
        if is_chat:
            conversation.messages = messages
        answer = yield from _hear(
            conversation,
            seed,
            settings,
            state,
            round_,
            agent,
        )
        opinions.append(Opinion(agent, answer))
    # The moderator gets the opinions in its task, so they need not be in the chat.
    if is_chat:
        conversation.messages = messages
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
        # All speak at once at the table, so each turn of the last round is a last one.
        last=round_ == settings.max_rounds,
        at_table=True,
    )
    answer_format = AnswerFormat(
        DeliberatorAnswer, {"rules": context.policies.rule_ids}, {}
    )
    return (
        yield from ask_agent(
            conversation,
            settings.context,
            RowState(seed, state.thoughts, state.response),
            Role.DELIBERATOR,
            task,
            answer_format,
            inputs,
            inputs.agent,
        )
    )


def _merge(
    conversation: Conversation,
    seed: SeedCot,
    settings: DeliberationSettings,
    state: _State,
    round_: int,
    opinions: tuple[Opinion, ...],
) -> Dialogue[_State]:
    context = conversation.context
    spoken = []
    for opinion in opinions:
        spoken.append({"number": opinion.number, **opinion.answer.model_dump()})
    task = context.templates.task(
        Stage.DELIBERATED_COTS,
        Role.MODERATOR,
        round=round_,
        rounds=settings.max_rounds,
        agents=settings.agents,
        opinions=spoken,
    )
    inputs = ModeratorInputs(
        prompt=seed,
        policies=context.policies,
        applicable=seed.applicable_policies,
        thoughts=state.thoughts,
        response=state.response,
        round=round_,
        opinions=opinions,
    )
    answer_format = AnswerFormat(
        ModeratorAnswer,
        {"rules": context.policies.rule_ids},
        # The author of a merged thought must be an agent that sits at the table.
        {"agents": settings.agents},
    )
    answer = yield from ask_agent(
        conversation,
        settings.context,
        RowState(seed, state.thoughts, state.response),
        Role.MODERATOR,
        task,
        answer_format,
        inputs,
    )
    thoughts = list(state.thoughts)
    for merged in answer.thoughts:
        thought = Thought(
            number=len(thoughts) + 1,
            text=merged.thought.strip(),
            rules=tuple(dict.fromkeys(merged.rules)),
            agent=agent_name(merged.author),
            round=round_,
        )
        thoughts.append(thought)
    return _State(tuple(thoughts), answer.response)


DELIBERATION_STYLES = {"in_turn": deliberate, "round_table": deliberate_at_round_table}
"""The dialogue of each `DeliberationSettings.style`."""
