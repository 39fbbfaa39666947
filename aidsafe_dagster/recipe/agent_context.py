"""What an agent is shown besides its task: the whole chat, or the state of the row alone.

`fresh`: prompt, intents, the thoughts so far and the current response, as AIDSAFE has it. No agent
sees the words of another as its own. The refiner, who is to be impartial, always gets it.
`chat`: everything that was said on the row so far, as one growing conversation.

A server's prefix cache serves the beginning of a prompt for as long as it is the same as before. So
the state begins with what never changes, goes on with the thoughts, to which agents only add, and
ends with the response. The task is last.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from aidsafe_dagster.recipe.answers import A, AnswerFormat
from aidsafe_dagster.recipe.dialogue import Conversation, Dialogue
from aidsafe_dagster.recipe.records import (
    DeliberatedCot,
    Message,
    Role,
    SeedCot,
    Stage,
    Thought,
)

ContextKind = Literal["fresh", "chat"]


@dataclass(frozen=True)
class RowState:
    """The row as an agent finds it."""

    row: SeedCot | DeliberatedCot
    """Of which prompt, intents and policies to cover are shown."""
    thoughts: Sequence[Thought]
    response: str


def ask_agent(
    conversation: Conversation,
    kind: ContextKind,
    state: RowState,
    role: Role,
    task: str,
    answer_format: AnswerFormat[A],
    inputs: object,
    agent: str = "",
    check: Callable[[A], None] = lambda _: None,
) -> Dialogue[A]:
    """Put a task to an agent in its context, and return its valid answer.

    For `check`, see `Conversation.ask`. The conversation keeps the task and the answer; the state
    can be told from the row.

    Raises:
        RowFailed: see `Conversation.ask`.
    """
    if kind == "chat":
        return (
            yield from conversation.ask(
                role, task, answer_format, inputs, agent=agent, check=check
            )
        )
    earlier_messages = conversation.messages
    no_messages: tuple[Message, ...] = ()
    conversation.messages = no_messages
    # One message, since not every chat template takes two of a user in a row.
    task_in_context = f"{_describe(conversation, state)}\n\n{task}"
    answer = yield from conversation.ask(
        role, task_in_context, answer_format, inputs, agent=agent, check=check
    )
    question = Message(role="user", content=task)
    reply = conversation.messages[-1]
    conversation.messages = (*earlier_messages, question, reply)
    return answer


def _describe(conversation: Conversation, state: RowState) -> str:
    templates = conversation.context.templates
    return templates.task(
        Stage.DELIBERATED_COTS,
        "state",
        prompt=templates.shown(state.row),
        intents=state.row.intents,
        applicable=state.row.applicable_policies,
        thoughts=state.thoughts,
        response=state.response,
    )
