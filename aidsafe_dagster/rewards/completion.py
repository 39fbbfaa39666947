"""A completion of the model in training: its thoughts, its response, and whether it has both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aidsafe_dagster.recipe.format_types import CLOSE, OPEN, REASONING_FIELD
from aidsafe_dagster.recipe.records import Message

Completion = str | Sequence[Mapping[str, Any]]
"""A text, or the messages of a conversational dataset."""


@dataclass(frozen=True)
class ReadCompletion:
    thinking: str
    """Empty if there is none."""
    response: str
    has_form: bool
    """Whether it is one block of thoughts and then a response, neither of them empty."""

    @property
    def thoughts(self) -> tuple[str, ...]:
        """A thought per paragraph, as in the training data."""
        paragraphs = (part.strip() for part in self.thinking.split("\n\n"))
        return tuple(part for part in paragraphs if part)


def read_completion(completion: Completion) -> ReadCompletion:
    """Take a completion apart. What is no text counts as none."""
    content, reasoning = _content(completion)
    if reasoning:
        has_form = bool(content.strip()) and OPEN not in content
        return ReadCompletion(reasoning.strip(), content.strip(), has_form)
    # The opening tag may be part of the prompt, as in many chat templates.
    thinking, tag, response = content.partition(CLOSE)
    if not tag:
        return ReadCompletion("", content.removeprefix(OPEN).strip(), has_form=False)
    thinking = thinking.strip().removeprefix(OPEN).strip()
    response = response.strip()
    tags = content.count(OPEN) > 1 or content.count(CLOSE) > 1
    return ReadCompletion(thinking, response, bool(thinking and response) and not tags)


def prompt_turns(prompt: Completion) -> tuple[Message, ...]:
    """Return the turns up to the user's last one; a text is one turn."""
    if isinstance(prompt, str):
        return (Message(role="user", content=prompt),)
    turns = []
    for turn in prompt:
        if turn.get("role") in ("system", "user", "assistant"):
            content = str(turn.get("content") or "")
            turns.append(Message(role=turn["role"], content=content))
    while turns and turns[-1].role != "user":
        turns.pop()
    return tuple(turns) or (Message(role="user", content=""),)


def _content(completion: Completion) -> tuple[str, str]:
    """Return content and reasoning field."""
    if isinstance(completion, str):
        return completion, ""
    if not completion:
        return "", ""
    turn = completion[-1]
    return str(turn.get("content") or ""), str(turn.get(REASONING_FIELD) or "")
