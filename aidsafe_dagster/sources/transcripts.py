"""One user turn of a chat transcript, in the three shapes that datasets have.

    [{"role": "user", "content": "…"}, …]              OpenAI's messages, TRL
    [{"from": "human", "value": "…"}, …]               ShareGPT
    "\\n\\nHuman: …\\n\\nAssistant: …"                     Anthropic's HH

A prompt is one text, so one turn is taken: the first, which needs nothing before it, or the last.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

WhichTurn = Literal["first", "last"]

_SHAPES = (("role", "content"), ("from", "value"))
"""Keys of the speaker and of the text."""
_USERS = frozenset({"user", "human", "prompter", "question"})
_HH_TURN = re.compile(r"(?:\A|\n\n)\s*(Human|Assistant):")


@dataclass(frozen=True)
class UserTurn:
    text: str
    """Empty: the transcript has no user turn."""
    is_alone: bool
    """The transcript has no other turn of the user, and no system message."""


def user_turn(value: object, which: WhichTurn) -> UserTurn | None:
    """Return a user turn of a transcript; None if the value is no transcript."""
    turns = _hh_turns(value) if isinstance(value, str) else _listed_turns(value)
    if turns is None:
        return None
    users = [text for speaker, text in turns if speaker in _USERS]
    is_alone = len(users) <= 1 and all(speaker != "system" for speaker, _ in turns)
    if not users:
        return UserTurn("", is_alone)
    return UserTurn(users[0] if which == "first" else users[-1], is_alone)


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
