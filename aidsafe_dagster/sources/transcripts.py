"""Chat transcripts, in the three shapes that datasets have.

    [{"role": "user", "content": "…"}, …]              OpenAI's messages, TRL
    [{"from": "human", "value": "…"}, …]               ShareGPT
    "\\n\\nHuman: …\\n\\nAssistant: …"                     Anthropic's HH

The last turn of the user is the prompt, and the turns before it are its context. Or one turn is
taken by itself: the first, which needs nothing before it, or the last.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from aidsafe_dagster.recipe.records import Message

WhichTurn = Literal["conversation", "first", "last"]
"""What is taken of a transcript: all of it up to the user's last turn, or a turn by itself."""

Role = Literal["user", "assistant"]
_SHAPES = (("role", "content"), ("from", "value"))
"""Keys of the speaker and of the text."""
_USERS = frozenset({"user", "human", "prompter", "question"})
_ASSISTANTS = frozenset(
    {"assistant", "gpt", "chatgpt", "bing", "bard", "bot", "chatbot", "model", "answer"}
)
_HH_TURN = re.compile(r"(?:\A|\n\n)\s*(Human|Assistant):")


@dataclass(frozen=True)
class Transcript:
    text: str
    """The prompt. Empty: the transcript has no user turn."""
    earlier: tuple[Message, ...] = ()
    """Its context: a system message, if there is one, then turns of user and assistant."""
    leaves_out: bool = False
    """There are further turns of the user, or a system message, that are not read."""
    other_speaker: str = ""
    """Who speaks before the prompt and is neither user, assistant nor system, such as a tool."""
    answer: str = ""
    """The turn of the assistant that follows the prompt; empty: there is none."""
    is_last: bool = True
    """Nothing follows the prompt, neither the assistant's turn nor another one."""

    @property
    def turns(self) -> tuple[Message, ...]:
        """The prompt, and the turns before it."""
        return (*self.earlier, Message(role="user", content=self.text))


def read_transcript(value: object, which: WhichTurn) -> Transcript | None:
    """Return what is taken of a transcript; None if the value is no transcript."""
    turns = _hh_turns(value) if isinstance(value, str) else _listed_turns(value)
    if turns is None:
        return None
    positions = [at for at, (speaker, _) in enumerate(turns) if speaker in _USERS]
    if not positions:
        return Transcript("")
    following = turns[positions[0 if which == "first" else -1] + 1 :]
    return replace(
        _taken(turns, which),
        answer=_answer_in(following),
        is_last=not following,
    )


def last_answer(value: object) -> str | None:
    """Return the last turn of the assistant in a list of turns; None if the value is no such list.

    Datasets of preferences hold each side as turns, the prompt's included or not.
    """
    turns = _listed_turns(value)
    if turns is None:
        return None
    answers = [text for speaker, text in turns if speaker in _ASSISTANTS]
    return answers[-1] if answers else ""


def _answer_in(following: Sequence[tuple[str, str]]) -> str:
    """Return the assistant's turn where it comes first in what follows a turn of the user."""
    if not following:
        return ""
    speaker, text = following[0]
    return text if speaker in _ASSISTANTS else ""


def _taken(turns: Sequence[tuple[str, str]], which: WhichTurn) -> Transcript:
    """Return what is taken of turns of which the user has one at least."""
    if which == "conversation":
        return _conversation(turns)
    users = [text for speaker, text in turns if speaker in _USERS]
    is_alone = len(users) <= 1 and all(speaker != "system" for speaker, _ in turns)
    return Transcript(users[0 if which == "first" else -1], leaves_out=not is_alone)


def _conversation(turns: Sequence[tuple[str, str]]) -> Transcript:
    """Return the transcript in the form that chat templates and trainers take.

    One system message comes first, and then user and assistant in turn, beginning with the user.
    """
    last = max((i for i, (who, _) in enumerate(turns) if who in _USERS), default=None)
    if last is None:
        return Transcript("")
    systems = []
    messages: list[Message] = []
    for speaker, text in turns[: last + 1]:
        if speaker == "system" and text.strip():
            systems.append(text)
        elif speaker not in _USERS | _ASSISTANTS and text.strip():
            return Transcript(turns[last][1], other_speaker=speaker)
        elif text.strip():
            role: Role = "user" if speaker in _USERS else "assistant"
            _add(messages, role, text)
    if not turns[last][1].strip() or not messages:
        return Transcript("")
    prompt = messages.pop()
    if systems:
        system = Message(role="system", content="\n\n".join(systems))
        return Transcript(prompt.content, (system, *messages))
    return Transcript(prompt.content, tuple(messages))


def _add(messages: list[Message], role: Role, text: str) -> None:
    if messages and messages[-1].role == role:
        messages[-1] = Message(role=role, content=f"{messages[-1].content}\n\n{text}")
    # An assistant who greets first says nothing that bears on the prompt.
    elif messages or role == "user":
        messages.append(Message(role=role, content=text))


def parsed_list(text: str) -> object:
    """Return the list that a cell of a CSV file holds as JSON; the text itself if none."""
    if not text.lstrip().startswith("["):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _listed_turns(value: object) -> list[tuple[str, str]] | None:
    if not isinstance(value, list) or not value:
        return None
    shape = _shape_of(value)
    if shape is None:
        return None
    speaker_key, text_key = shape
    turns = []
    for turn in value:
        # Parquet fills up what a turn lacks with null.
        speaker = str(turn.get(speaker_key) or "").strip().lower()
        turns.append((speaker, _text_of(turn.get(text_key))))
    return turns


def _shape_of(turns: Sequence[Any]) -> tuple[str, str] | None:
    for shape in _SHAPES:
        if all(isinstance(turn, Mapping) and shape[0] in turn for turn in turns):
            return shape
    return None


def _text_of(content: object) -> str:
    """Return the text of a turn, whose content may be a list of parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = []
    for part in content:
        if isinstance(part, Mapping) and isinstance(part.get("text"), str):
            texts.append(part["text"])
    return "\n".join(texts)


def _hh_turns(text: str) -> list[tuple[str, str]] | None:
    # Only what begins with a turn and has an answer is a transcript, not a text that quotes one.
    if not text.lstrip().startswith("Human:"):
        return None
    parts = _HH_TURN.split(text)
    speakers = [speaker.lower() for speaker in parts[1::2]]
    if "assistant" not in speakers:
        return None
    texts = [part.strip() for part in parts[2::2]]
    return list(zip(speakers, texts, strict=True))
