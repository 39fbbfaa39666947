"""Find word sequences that two texts share: a whole text, or many words in a row.

Words that occur in any request are no evidence: "what is the best way to get rid of" is nine words
in a row and means nothing by itself. A shared sequence counts only with distinctive words in it.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from aidsafe_dagster.sources.duplicates import word_shingles
from aidsafe_dagster.sources.similarity import Shingles, Words

# One or two words, such as a name, occur in many prompts about something else.
_MIN_CONTAINED_WORDS = 3
_MIN_DISTINCTIVE_WORDS = 2
_COMMON_WORDS = """
a about above act advantages after again all also am an and answer any anyone anything are as ask
at be because been before being below best better between both but by can cannot cant come cons
could create describe detail detailed did difference differences different disadvantages do does
doesnt doing done dont down during each easiest easy effective else ever every everyone everything
example examples explain explanation few find first following for from get give go going good got
guide had happen happened has have having he help her here hers him his how i id if ill im in
instruction instructions into is isnt it its ive just keep kind know let like list long look made
make makes making many may me mean might more most much must my need never new no not now of off
on once one only or other others our out over own paragraph people person please possible pros
provide put question questions quick quickest quickly really reasons respond rid role same say see
short should show simple so some someone something start step steps still such sure take tell than
that thats the their them then there these they thing things think this those through tip tips to
too try under until up us use used using very want was way ways we well were what whats when where
which while who whom whose why will with without wont work works would write yes you your youre
yours
"""
_COMMON = frozenset(_COMMON_WORDS.split())


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
            is_long_enough = len(words) >= _MIN_CONTAINED_WORDS
            if is_long_enough and _count_distinctive(words):
                opening = words[:ngram_words]
                self._openings[opening].append(row)
            for ngram in _windows(words, ngram_words):
                if _count_distinctive(ngram) >= _MIN_DISTINCTIVE_WORDS:
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
        for start, ngram in enumerate(_windows(text, self._size)):
            if ngram in ngrams:
                covered.update(range(start, start + self._size))
        return len(covered) / len(text)


def distinctive_words(words: Words) -> Words:
    """Return the words that distinguish one request from another."""
    return tuple(word for word in words if word not in _COMMON)


def distinctive_shingles(words: Words) -> Shingles:
    """Return the word 3-shingles that contain a distinctive word."""
    return frozenset(
        shingle for shingle in word_shingles(words) if _count_distinctive(shingle)
    )


def _windows(words: Words, size: int) -> Iterator[Words]:
    for start in range(len(words) - size + 1):
        yield words[start : start + size]


def _count_distinctive(words: Words) -> int:
    return len(set(words) - _COMMON)
