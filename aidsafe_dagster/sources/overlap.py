"""Find word sequences that two texts share: a whole text, or many words in a row.

Words that occur in any request are no evidence: "what is the best way to get rid of" is nine words
in a row and means nothing by itself. A shared sequence counts only with distinctive words in it.
A word of a script without spaces has about two signs, so a sequence of signs is twice as long.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from aidsafe_dagster.recipe.unspaced import is_mostly_unspaced, is_unspaced
from aidsafe_dagster.sources.common_words import common_words
from aidsafe_dagster.sources.duplicates import word_shingles
from aidsafe_dagster.sources.similarity import Shingles, Words

# One or two words, such as a name, occur in many prompts about something else.
_MIN_CONTAINED_WORDS = 3
_MIN_DISTINCTIVE_WORDS = 2
_SIGNS_PER_WORD = 2


class Overlap(NamedTuple):
    rule: str
    """exact, contained, or ngram."""
    row: int
    """Index of the reference text."""
    share: float
    """Share of the reference text's words that occur, 0 to 1."""


class WordSequences:
    """An index of reference texts for overlap searches."""

    def __init__(self, texts: Sequence[Words], ngram_words: int) -> None:
        self._texts, self._size = texts, ngram_words
        self._whole = dict[Words, int]()
        # The first words of each text. A contained text is found by them, then compared in full.
        self._openings = defaultdict[Words, list[int]](list)
        self._ngrams = defaultdict[Words, list[int]](list)
        for row, words in enumerate(texts):
            # The first of several equal texts is the one that reports name.
            self._whole.setdefault(words, row)
            scale = _signs_per_word(words)
            common = common_words(words)
            is_long_enough = len(words) >= _MIN_CONTAINED_WORDS * scale
            if is_long_enough and _count_distinctive(words, common):
                opening = words[:ngram_words]
                self._openings[opening].append(row)
            for ngram in _windows(words, ngram_words * scale):
                if _count_distinctive(ngram, common) >= _MIN_DISTINCTIVE_WORDS * scale:
                    self._ngrams[ngram].append(row)
        # Texts shorter than the n-gram have shorter openings, so each size needs its own search.
        sizes = set(map(len, self._openings))
        self._opening_sizes = sorted(sizes)

    def find(self, words: Words) -> Overlap | None:
        """Return the strongest overlap of a text with a reference text."""
        if words and words in self._whole:
            return Overlap("exact", self._whole[words], 1.0)
        return self._find_contained(words) or self._find_shared(words)

    def _find_contained(self, words: Words) -> Overlap | None:
        """Find the longest reference text that occurs as a whole; the first if several do."""
        rows = set[int]()
        for size in self._opening_sizes:
            for start, opening in enumerate(_windows(words, size)):
                for row in self._openings.get(opening, ()):
                    text = self._texts[row]
                    end = start + len(text)
                    if words[start:end] == text:
                        rows.add(row)
        if not rows:
            return None
        lengths = {row: len(self._texts[row]) for row in rows}
        # `max` returns the first of several maxima.
        longest = max(sorted(rows), key=lengths.__getitem__)
        return Overlap("contained", longest, 1.0)

    def _find_shared(self, words: Words) -> Overlap | None:
        """Find the reference text with the largest share of words in common n-grams."""
        windows = set(_windows(words, self._size))
        windows |= set(_windows(words, self._size * _SIGNS_PER_WORD))
        ngrams = windows & self._ngrams.keys()
        rows = set[int]()
        for ngram in ngrams:
            rows.update(self._ngrams[ngram])
        if not rows:
            return None
        shares = {row: self._share_covered(self._texts[row], ngrams) for row in rows}
        best = max(sorted(rows), key=shares.__getitem__)
        return Overlap("ngram", best, shares[best])

    def _share_covered(self, text: Words, ngrams: set[Words]) -> float:
        # Positions and not n-grams: neighbouring n-grams overlap.
        covered = set[int]()
        size = self._size * _signs_per_word(text)
        for start, ngram in enumerate(_windows(text, size)):
            if ngram in ngrams:
                covered.update(range(start, start + size))
        return len(covered) / len(text)


def distinctive_words(words: Words) -> Words:
    """Return the words that distinguish one request from another."""
    common = common_words(words)
    return tuple(word for word in words if word not in common)


def distinctive_shingles(words: Words) -> Shingles:
    """Return the word 3-shingles that contain a distinctive word."""
    common = common_words(words)
    distinctive = set[tuple[str, ...]]()
    for shingle in word_shingles(words):
        if _count_distinctive(shingle, common):
            distinctive.add(shingle)
    return frozenset(distinctive)


def paired_signs(words: Words) -> Words:
    """Return the words, and of a script without spaces its neighbouring signs in pairs.

    A sign by itself is in too many words to mean anything.
    """
    paired = list[str]()
    before = ""
    for word in words:
        is_sign = is_unspaced(word)
        if before and is_sign:
            paired.append(before + word)
        elif not is_sign:
            paired.append(word)
        before = word if is_sign else ""
    return tuple(paired)


def _signs_per_word(words: Words) -> int:
    return _SIGNS_PER_WORD if is_mostly_unspaced(words) else 1


def _windows(words: Words, size: int) -> Iterator[Words]:
    for start in range(len(words) - size + 1):
        yield words[start : start + size]


def _count_distinctive(words: Words, common: frozenset[str]) -> int:
    return len(set(words) - common)
