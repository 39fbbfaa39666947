"""Decontamination: find the prompts that are, or nearly are, in an evaluation set.

The rules are listed from the strongest to the weakest; the first that matches a prompt counts.
STAR-1 (arXiv 2504.01903) decontaminates by word 8-grams, TF-IDF 0.6 and embeddings 0.7. Our TF-IDF
threshold is 0.7: at 0.6 it mistakes one president for another.

    exact       the same words in the same order
    contained   the whole evaluation prompt inside a longer one
    ngram       a number of words in a row (8)
    jaccard     Jaccard similarity of word 3-shingles, which MinHash estimates
    tfidf       cosine of the weighted bags of words: finds the same words in another order
    embedding   cosine of embeddings, if a model for them is configured
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cache
from typing import Any

from numpy.typing import NDArray
from pydantic import Field

from aidsafe_dagster.recipe.records import Record
from aidsafe_dagster.sources.encoded_texts import decoded_texts
from aidsafe_dagster.sources.evaluation_sets import (
    EvaluationPrompt,
    EvaluationSet,
)
from aidsafe_dagster.sources.files import read_file
from aidsafe_dagster.sources.overlap import (
    WordSequences,
    distinctive_shingles,
    distinctive_words,
    paired_signs,
)
from aidsafe_dagster.sources.settings import DecontaminationSettings
from aidsafe_dagster.sources.similarity import (
    Pair,
    Words,
    cosine_pairs,
    jaccard_pairs,
    tfidf_pairs,
)
from aidsafe_dagster.sources.source import bundled_sources
from aidsafe_dagster.sources.wording import normalised_words

# Enough to recognise an evaluation prompt. No more of a set enters the lake.
_MAX_TEXT_CHARS = 160
_DISTINCTIVE_COSINE = 0.5

Embed = Callable[[Sequence[str]], NDArray[Any]]
"""Turns texts into vectors, of shape (texts, dimensions)."""


class Rule(StrEnum):
    EXACT = "exact"
    CONTAINED = "contained"
    NGRAM = "ngram"
    JACCARD = "jaccard"
    TFIDF = "tfidf"
    EMBEDDING = "embedding"


class Match(Record):
    """The evaluation prompt that a prompt equals or resembles."""

    set: str
    row: str = Field(description="position in the set: file and row")
    rule: Rule
    score: float = Field(
        description="0 to 1: similarity, or the share of the evaluation prompt's words in a row"
    )
    text: str = Field(description="the evaluation prompt, cut to 160 characters")

    def __str__(self) -> str:
        """Format as one line, which `read_match` parses."""
        # The text comes last and may contain the separator, which a file name must not.
        row = self.row.replace(" | ", " ")
        score = f"{self.score:.3f}"
        return " | ".join((self.set, self.rule, score, row, self.text))


def read_match(line: str) -> Match:
    """Parse the line that `str(match)` makes."""
    name, rule, score, row, text = line.split(" | ", 4)
    return Match(
        set=name,
        rule=Rule(rule),
        score=float(score),
        row=row,
        text=text,
    )


def find_contaminated(
    prompts: Sequence[str],
    sets: Iterable[EvaluationSet],
    settings: DecontaminationSettings,
    embed: Embed | None = None,
) -> list[Match | None]:
    """Return for each prompt its match in one of the sets; None if the prompt is clean.

    What a prompt holds in code, such as base64, is looked for as well. The result for a prompt
    depends on the sets and the settings, and never on the other prompts.
    """
    evaluation = list[EvaluationPrompt]()
    for evaluation_set in sets:
        evaluation += evaluation_set.prompts
    found: list[Match | None] = [None] * len(prompts)
    if not evaluation:
        return found
    owners, texts = list[int](), list[str]()
    for owner, prompt in enumerate(prompts):
        parts = [prompt, *decoded_texts(prompt)]
        owners += [owner] * len(parts)
        texts += parts
    matches = _find_matches(texts, evaluation, settings, embed)
    for owner, match in zip(owners, matches, strict=True):
        # The prompt as it stands comes first.
        found[owner] = found[owner] or match
    return found


def _find_matches(
    prompts: Sequence[str],
    evaluation: Sequence[EvaluationPrompt],
    settings: DecontaminationSettings,
    embed: Embed | None,
) -> list[Match | None]:
    matches: list[Match | None] = [None] * len(prompts)
    texts = [prompt.text for prompt in evaluation]
    comparison = _Comparison(prompts, texts, settings, embed)
    # From the strongest rule to the weakest: the first match counts.
    for rule in comparison.rules:
        unmatched = []
        for row, match in enumerate(matches):
            if match is None:
                unmatched.append(row)
        for pair, rule_name in _best_pairs(rule(unmatched)):
            row = unmatched[pair.left]
            prompt = evaluation[pair.right]
            matches[row] = _make_match(prompt, rule_name, pair.similarity)
    return matches


class _Comparison:
    """Prompts against evaluation prompts.

    Each rule receives the rows of the prompts that are still unmatched. In the pairs that it
    yields, `left` is an index into those rows, and `right` an index into the evaluation prompts.
    """

    def __init__(
        self,
        prompts: Sequence[str],
        evaluation: Sequence[str],
        settings: DecontaminationSettings,
        embed: Embed | None,
    ) -> None:
        self._prompts, self._evaluation = prompts, evaluation
        self._prompt_words = [normalised_words(text) for text in prompts]
        self._evaluation_words = [normalised_words(text) for text in evaluation]
        self._settings, self._embed = settings, embed

    @property
    def rules(
        self,
    ) -> tuple[Callable[[Sequence[int]], Iterator[tuple[Pair, Rule]]], ...]:
        by_words = (self._overlap, self._jaccard, self._tfidf)
        if self._embed is None:
            return by_words
        return (*by_words, self._embedding)

    def _overlap(self, rows: Sequence[int]) -> Iterator[tuple[Pair, Rule]]:
        sequences = WordSequences(self._evaluation_words, self._settings.ngram_words)
        for left, row in enumerate(rows):
            overlap = sequences.find(self._prompt_words[row])
            if overlap:
                yield Pair(left, overlap.row, overlap.share), Rule(overlap.rule)

    def _jaccard(self, rows: Sequence[int]) -> Iterator[tuple[Pair, Rule]]:
        left = [distinctive_shingles(self._prompt_words[row]) for row in rows]
        right = [distinctive_shingles(words) for words in self._evaluation_words]
        for pair in jaccard_pairs(left, right, self._settings.jaccard_threshold):
            yield pair, Rule.JACCARD

    def _tfidf(self, rows: Sequence[int]) -> Iterator[tuple[Pair, Rule]]:
        """Require that the distinctive words are similar as well.

        Otherwise a long request for a bird house matches one for a bomb.
        """
        similar = set[tuple[int, int]]()
        # This is only a filter, so its threshold is below that of the rule itself.
        for pair in self._tfidf_pairs(rows, distinctive_words, _DISTINCTIVE_COSINE):
            similar.add((pair.left, pair.right))
        for pair in self._tfidf_pairs(rows, tuple, self._settings.tfidf_threshold):
            if (pair.left, pair.right) in similar:
                yield pair, Rule.TFIDF

    def _tfidf_pairs(
        self, rows: Sequence[int], select: Callable[[Words], Words], threshold: float
    ) -> Iterator[Pair]:
        left = [paired_signs(select(self._prompt_words[row])) for row in rows]
        right = [paired_signs(select(words)) for words in self._evaluation_words]
        background = [select(words) for words in _sample_prompts()]
        return tfidf_pairs(left, right, background, threshold)

    def _embedding(self, rows: Sequence[int]) -> Iterator[tuple[Pair, Rule]]:
        assert self._embed is not None
        # Embedding the evaluation prompts takes long, and may be needless by now.
        if not rows:
            return
        left = self._embed([self._prompts[row] for row in rows])
        right = self._embed(self._evaluation)
        for pair in cosine_pairs(left, right, self._settings.embedding_threshold):
            yield pair, Rule.EMBEDDING


def _best_pairs(pairs: Iterable[tuple[Pair, Rule]]) -> Iterable[tuple[Pair, Rule]]:
    """Keep the most similar pair of each prompt; of equals, the first evaluation prompt."""
    best: dict[int, tuple[Pair, Rule]] = {}
    for pair, rule in pairs:
        current = best.get(pair.left)
        if current is None or _rank(pair) < _rank(current[0]):
            best[pair.left] = (pair, rule)
    return best.values()


def _rank(pair: Pair) -> tuple[float, int]:
    return -pair.similarity, pair.right


def _make_match(prompt: EvaluationPrompt, rule: Rule, score: float) -> Match:
    text = " ".join(prompt.text.split())
    return Match(
        set=prompt.set,
        row=prompt.row,
        rule=rule,
        # Rounding errors can lift a cosine above 1.
        score=min(score, 1.0),
        text=text[:_MAX_TEXT_CHARS],
    )


@cache
def _sample_prompts() -> tuple[Words, ...]:
    """Return the bundled prompts.

    They distinguish common words from rare ones when an evaluation set is small.
    """
    prompts = list[Words]()
    for source in bundled_sources():
        assert source.path is not None
        for row in read_file(source.path).rows:
            if isinstance(row.content, Mapping):
                prompts.append(normalised_words(row.content["prompt"]))
    return tuple(prompts)
