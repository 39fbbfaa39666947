"""Shortening a text sentence by sentence: the middle of three goes first, then the last of two."""

import re

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def sentences(text: str) -> tuple[str, ...]:
    return tuple(filter(None, _SENTENCE_END.split(text.strip()))) or (text,)


def shortened(parts: list[tuple[str, ...]], length: int, share: float) -> list[tuple[str, ...]]:
    """Parts (sentences each) cut towards `share` of `length` characters; under `length` even if words have to go."""
    parts = list(parts)
    for sentences_left in (3, 2):
        for place in _from_the_middle(len(parts)):
            while len(parts[place]) >= sentences_left and _size(parts) > share * length:
                parts[place] = _one_less(parts[place])
    for place in reversed(range(len(parts))):
        if _size(parts) >= length > 1:
            parts[place] = (_half(" ".join(parts[place])),)
    return parts


def _from_the_middle(count: int) -> list[int]:
    """Places, inner ones first: beginning and decision keep their elaborations longest."""
    return sorted(range(count), key=lambda place: abs(place - (count - 1) / 2))


def _one_less(part: tuple[str, ...]) -> tuple[str, ...]:
    return part[:1] + part[2:] if len(part) > 2 else part[:-1]


def _size(parts: list[tuple[str, ...]]) -> int:
    return sum(len(sentence) + 1 for part in parts for sentence in part)


def _half(text: str) -> str:
    words = text.split()
    return " ".join(words[: len(words) // 2]) if len(words) > 1 else text[: max(len(text) // 2, 1)]
