"""Decontamination: which prompts are, or nearly are, in an evaluation set.

Rules, the strongest first; a prompt is found by the first that holds. STAR-1 (arXiv 2504.01903) decontaminates by word
8-grams, TF-IDF 0.6 and embeddings 0.7. Here TF-IDF asks for 0.7: at 0.6 it takes one president for another.

    exact       the same words in the same order
    contained   the whole evaluation prompt inside a longer one
    ngram       so many words in a row (8)
    jaccard     of word 3-shingles, the similarity that MinHash estimates
    tfidf       cosine of the weighted bags of words: finds the same words in another order
    embedding   cosine of embeddings, where a model for them is set
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cache
from typing import Any

from numpy.typing import NDArray
from pydantic import Field

from aidsafe_dagster.recipe.records import Record
from aidsafe_dagster.sources.evaluation_sets import (
    EvaluationPrompt,
    EvaluationSet,
)
from aidsafe_dagster.sources.files import read_file
from aidsafe_dagster.sources.overlap import WordSequences, telling_shingles, telling_words
from aidsafe_dagster.sources.settings import DecontaminationSettings
from aidsafe_dagster.sources.similarity import Pair, Words, cosine_pairs, jaccard_pairs, tfidf_pairs
from aidsafe_dagster.sources.source import bundled_sources
from aidsafe_dagster.sources.wording import words

_SHOWN_CHARS = 160
_TELLING_COSINE = 0.5

Embed = Callable[[Sequence[str]], NDArray[Any]]
"""Texts to vectors, of shape (texts, dimensions)."""


class Rule(StrEnum):
    EXACT = "exact"
    CONTAINED = "contained"
    NGRAM = "ngram"
    JACCARD = "jaccard"
    TFIDF = "tfidf"
    EMBEDDING = "embedding"


class Match(Record):
    """The evaluation prompt that a prompt was found to be, or to be near to."""

    set: str
    row: str = Field(description="place in the set: file and row")
    rule: Rule
    score: float = Field(
        description="0 to 1: similarity, or the share of the evaluation prompt's words in a row"
    )
    text: str = Field(description="the evaluation prompt, cut to 160 characters")

    def __str__(self) -> str:
        """One line that `read_match` reads."""
        return " | ".join(
            (self.set, self.rule, f"{self.score:.3f}", self.row.replace(" | ", " "), self.text)
        )


def read_match(line: str) -> Match:
    """The inverse of `str(match)`."""
    name, rule, score, row, text = line.split(" | ", 4)
    return Match(set=name, rule=Rule(rule), score=float(score), row=row, text=text)


def find_contaminated(
    prompts: Sequence[str],
    sets: Iterable[EvaluationSet],
    settings: DecontaminationSettings,
    embed: Embed | None = None,
) -> list[Match | None]:
    """For each prompt its match in one of the sets, None if it is clean.

    What becomes of a prompt depends on the sets and the settings, never on the prompts beside it.
    """
    evaluation = [prompt for one in sets for prompt in one.prompts]
    comparison = _Comparison(prompts, [prompt.text for prompt in evaluation], settings, embed)
    found: dict[int, Match] = {}
    for rule in comparison.rules:
        left = [place for place in range(len(prompts)) if place not in found] if evaluation else []
        for pair, name in _best(rule(left)):
            found[left[pair.left]] = _match(evaluation[pair.right], name, pair.similarity)
    return [found.get(place) for place in range(len(prompts))]


class _Comparison:
    """Prompts against evaluation prompts; each rule is given the places of the prompts still to be looked at.

    `left` of the pairs it gives is a place among those, `right` one among the evaluation prompts.
    """

    def __init__(
        self,
        prompts: Sequence[str],
        evaluation: Sequence[str],
        settings: DecontaminationSettings,
        embed: Embed | None,
    ) -> None:
        self._prompts, self._evaluation = prompts, evaluation
        self._ours, self._theirs = (
            [words(text) for text in prompts],
            [words(text) for text in evaluation],
        )
        self._settings, self._embed = settings, embed

    @property
    def rules(self) -> tuple[Callable[[Sequence[int]], Iterator[tuple[Pair, Rule]]], ...]:
        by_words = (self._overlap, self._jaccard, self._tfidf)
        return (*by_words, self._embedding) if self._embed else by_words

    def _overlap(self, places: Sequence[int]) -> Iterator[tuple[Pair, Rule]]:
        sequences = WordSequences(self._theirs, self._settings.ngram_words)
        for row, place in enumerate(places):
            if overlap := sequences.find(self._ours[place]):
                yield Pair(row, overlap.row, overlap.share), Rule(overlap.rule)

    def _jaccard(self, places: Sequence[int]) -> Iterator[tuple[Pair, Rule]]:
        ours = [telling_shingles(self._ours[place]) for place in places]
        theirs = [telling_shingles(text) for text in self._theirs]
        for pair in jaccard_pairs(ours, theirs, self._settings.jaccard_threshold):
            yield pair, Rule.JACCARD

    def _tfidf(self, places: Sequence[int]) -> Iterator[tuple[Pair, Rule]]:
        """The telling words have to be alike as well: a long request for a bird house is none for a bomb."""
        alike = {
            (pair.left, pair.right)
            for pair in self._cosines(places, telling_words, _TELLING_COSINE)
        }
        for pair in self._cosines(places, tuple, self._settings.tfidf_threshold):
            if (pair.left, pair.right) in alike:
                yield pair, Rule.TFIDF

    def _cosines(
        self, places: Sequence[int], bag: Callable[[Words], Words], threshold: float
    ) -> Iterator[Pair]:
        ours, theirs = (
            [bag(self._ours[place]) for place in places],
            [bag(text) for text in self._theirs],
        )
        return tfidf_pairs(ours, theirs, [bag(text) for text in _ordinary_prompts()], threshold)

    def _embedding(self, places: Sequence[int]) -> Iterator[tuple[Pair, Rule]]:
        assert self._embed is not None
        if places:
            ours, theirs = (
                self._embed([self._prompts[place] for place in places]),
                self._embed(self._evaluation),
            )
            for pair in cosine_pairs(ours, theirs, self._settings.embedding_threshold):
                yield pair, Rule.EMBEDDING


def _best(pairs: Iterable[tuple[Pair, Rule]]) -> Iterable[tuple[Pair, Rule]]:
    """The most similar pair of each prompt; of equals the first evaluation prompt."""
    best: dict[int, tuple[Pair, Rule]] = {}
    for pair, rule in pairs:
        other = best.get(pair.left)
        if other is None or (-pair.similarity, pair.right) < (-other[0].similarity, other[0].right):
            best[pair.left] = (pair, rule)
    return best.values()


def _match(prompt: EvaluationPrompt, rule: Rule, score: float) -> Match:
    shown = " ".join(prompt.text.split())[:_SHOWN_CHARS]
    return Match(set=prompt.set, row=prompt.row, rule=rule, score=min(score, 1.0), text=shown)


@cache
def _ordinary_prompts() -> tuple[Words, ...]:
    """The bundled prompts, which tell common words from rare ones where an evaluation set is small."""
    rows = (
        row for source in bundled_sources() if source.path for row in read_file(source.path).rows
    )
    return tuple(words(row.content["prompt"]) for row in rows if isinstance(row.content, Mapping))
