"""Which characters a reader sees. A prompt of others alone is no prompt."""

import unicodedata
from collections import Counter

_INVISIBLE_CATEGORIES = ("Cc", "Cf", "Cs", "Zs", "Zl", "Zp", "Mn", "Me")
"""Controls, formats, separators, and marks that have nothing to stand on."""
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0\ufffc\ufffd")
"""Fillers, the blank of Braille, and what stands for something that is lost."""
_MOST_NAMED = 3


def is_visible(text: str) -> bool:
    """Return whether the text holds a character that a reader sees."""
    return any(_is_seen(char) for char in text)


def name_characters(text: str) -> str:
    """Return the commonest characters of an invisible text by their code, for messages."""
    counts = Counter(char for char in text if not char.isspace())
    codes = [f"U+{ord(char):04X}" for char, _ in counts.most_common(_MOST_NAMED)]
    return ", ".join(codes)


def _is_seen(char: str) -> bool:
    return (
        char not in _BLANK and unicodedata.category(char) not in _INVISIBLE_CATEGORIES
    )
