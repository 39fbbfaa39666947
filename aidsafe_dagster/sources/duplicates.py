"""Exact and near duplicates of prompts: the prompt id and the shingles of a text."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence

from aidsafe_dagster.recipe.unspaced import split_words
from aidsafe_dagster.sources.similarity import Shingles

_SHINGLE_WORDS = 3
# Stripped from the ends of a word only. Stripped everywhere, it would make '10x + 5' and '10x - 5'
# the same task.
_PUNCTUATION = ".,;:!?\"'()[]{}“”‘’…"


def normalise(text: str) -> str:
    """Apply NFKC and case folding, and collapse white space."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"\s+", " ", folded).strip()


def prompt_id(text: str) -> str:
    """Return 64 bits of BLAKE2b over the normalised text, as 16 hex digits.

    Equal ids mean exact duplicates.
    """
    return hashlib.blake2b(normalise(text).encode(), digest_size=8).hexdigest()


def shingles(text: str) -> Shingles:
    """Return the word 3-shingles of the normalised text; its words if it has fewer than three.

    Of a script without spaces, each sign is a word.
    """
    words = split_words(normalise(text))
    # A word of punctuation alone stays as it is, so that no shingle contains an empty word.
    return word_shingles([word.strip(_PUNCTUATION) or word for word in words])


def word_shingles(words: Sequence[str]) -> Shingles:
    """Return the 3-shingles of a list of words; the words themselves if there are fewer."""
    size = _SHINGLE_WORDS if len(words) >= _SHINGLE_WORDS else 1
    windows = set[tuple[str, ...]]()
    for start in range(len(words) - size + 1):
        window = words[start : start + size]
        windows.add(tuple(window))
    return frozenset(windows)
