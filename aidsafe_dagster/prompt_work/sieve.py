"""What keeps a text that a writer offers out of the dataset, before a judge is asked about it."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from numpy.typing import NDArray

from aidsafe_dagster.prompt_work.coverage import Cell
from aidsafe_dagster.quality.languages import identify_language
from aidsafe_dagster.recipe.answers import AnswerBounds
from aidsafe_dagster.recipe.grown_prompts import describe_flaw, is_refusal
from aidsafe_dagster.recipe.languages import not_in_language
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.prompt_varieties import Variety
from aidsafe_dagster.recipe.records import Prompt
from aidsafe_dagster.recipe.templates import Templates
from aidsafe_dagster.sources.clusters import Duplicate, Thresholds, admit
from aidsafe_dagster.sources.contamination import find_contaminated
from aidsafe_dagster.sources.duplicates import prompt_id
from aidsafe_dagster.sources.evaluation_sets import EvaluationSet
from aidsafe_dagster.sources.overlap import distinctive_words
from aidsafe_dagster.sources.settings import DecontaminationSettings
from aidsafe_dagster.sources.similarity import Words, cosine_pairs, tfidf_pairs
from aidsafe_dagster.sources.wording import normalised_words

Embed = Callable[[Sequence[str]], NDArray[Any]]


class Why(StrEnum):
    """Why a prompt that was asked for is not there."""

    NO_ANSWER = "no valid answer of the writer"
    BAD_TEXT = "bad text"
    REFUSAL = "refusal"
    OTHER_LANGUAGE = "in another language"
    REPEATED = "written for several places"
    DUPLICATE = "near duplicate"
    SAME_MEANING = "says the same"
    CONTAMINATED = "in an evaluation set"
    NOT_PLACED = "no valid answer of the judge"
    OFF_TOPIC = "off topic"
    OTHER_KIND = "of another kind"


@dataclass(frozen=True)
class Candidate:
    """A text that a writer offers."""

    cell: Cell
    text: str
    variety: Variety


def count_reasons(reasons: Iterable[Why]) -> Mapping[Why, int]:
    """Return how often each reason is there, in the order of `Why`."""
    counts = Counter(reasons)
    return {why: counts[why] for why in Why if counts[why]}


@dataclass(frozen=True)
class Rejected:
    cell: Cell
    why: Why
    detail: str
    text: str = ""
    """Empty where there was no valid answer."""


@dataclass(frozen=True)
class Sieve:
    """Looks at candidates, in the order from what costs least to what costs most."""

    templates: Templates
    """What the writer is told, which is no prompt."""
    policies: Policies
    bounds: AnswerBounds
    language: str
    """Code of the language that prompts are to be in; empty: any."""
    thresholds: Thresholds
    same_words: float
    evaluation_sets: Sequence[EvaluationSet]
    decontamination: DecontaminationSettings
    embed: Embed | None
    embedding_threshold: float
    """Cosine of two embeddings from which on prompts say the same."""

    def sift(
        self, candidates: Sequence[Candidate], known: Sequence[Prompt]
    ) -> tuple[list[Candidate], list[Rejected]]:
        """Return the candidates that are left, and why each of the others is not.

        Args:
            candidates: of one round.
            known: all prompts that there are, with those that were taken before.
        """
        rejected: list[Rejected] = []
        for step in (
            self._flawed,
            self._repeated,
            lambda rest: self._duplicates(rest, known),
            lambda rest: self._alike(rest, known),
            self._contaminated,
        ):
            reasons = dict(step(candidates))
            rejected.extend(reasons.values())
            candidates = [
                candidate
                for place, candidate in enumerate(candidates)
                if place not in reasons
            ]
        return list(candidates), rejected

    def _flawed(
        self, candidates: Sequence[Candidate]
    ) -> Iterator[tuple[int, Rejected]]:
        for place, candidate in enumerate(candidates):
            if is_refusal(candidate.text):
                yield place, _rejected(candidate, Why.REFUSAL, "it declines")
            elif flaw := describe_flaw(
                candidate.text, self.templates, self.policies, self.bounds
            ):
                yield place, _rejected(candidate, Why.BAD_TEXT, flaw)
            elif foreign := self._describe_language(candidate.text):
                yield place, _rejected(candidate, Why.OTHER_LANGUAGE, foreign)

    def _describe_language(self, text: str) -> str | None:
        if not self.language:
            return None
        return not_in_language(text, "", self.language, identify_language)

    def _repeated(
        self, candidates: Sequence[Candidate]
    ) -> Iterator[tuple[int, Rejected]]:
        """Find texts that were offered for several places: they were written for none of them."""
        cells: dict[int, set[Cell]] = {}
        originals = list(range(len(candidates)))
        decisions = admit([], _as_prompts(candidates), self.thresholds)
        places: dict[str, int] = {}
        for place, decision in enumerate(decisions):
            if isinstance(decision, Duplicate):
                originals[place] = places[decision.original.prompt_id]
            elif isinstance(decision, Prompt):
                places[decision.prompt_id] = place
            cells.setdefault(originals[place], set()).add(candidates[place].cell)
        for place, candidate in enumerate(candidates):
            count = len(cells[originals[place]])
            if count > 1:
                detail = f"it came for {count} places in the same words"
                yield place, _rejected(candidate, Why.REPEATED, detail)

    def _duplicates(
        self, candidates: Sequence[Candidate], known: Sequence[Prompt]
    ) -> Iterator[tuple[int, Rejected]]:
        """Find what ingestion would drop."""
        decisions = admit(known, _as_prompts(candidates), self.thresholds)
        for place, decision in enumerate(decisions):
            if isinstance(decision, Duplicate):
                detail = f"of {decision.original.prompt_id}"
                yield place, _rejected(candidates[place], Why.DUPLICATE, detail)

    def _alike(
        self, candidates: Sequence[Candidate], known: Sequence[Prompt]
    ) -> Iterator[tuple[int, Rejected]]:
        """Find what says the same in other words, by the words or by embeddings."""
        own = [candidate.text for candidate in candidates]
        texts = [*(prompt.prompt for prompt in known), *own]
        for place, other in self._similar_pairs(own, texts):
            # Among the candidates, the first one stays.
            if other < len(known) + place:
                detail = " ".join(texts[other].split())[:80]
                yield place, _rejected(candidates[place], Why.SAME_MEANING, detail)

    def _similar_pairs(
        self, own: Sequence[str], texts: Sequence[str]
    ) -> Iterator[tuple[int, int]]:
        if not own:
            return
        ours, theirs = _telling_words(own), _telling_words(texts)
        for pair in tfidf_pairs(ours, theirs, [], self.same_words):
            yield pair.left, pair.right
        if self.embed is not None:
            vectors = self.embed(list(texts))
            latest = vectors[len(texts) - len(own) :]
            for pair in cosine_pairs(latest, vectors, self.embedding_threshold):
                yield pair.left, pair.right

    def _contaminated(
        self, candidates: Sequence[Candidate]
    ) -> Iterator[tuple[int, Rejected]]:
        texts = [candidate.text for candidate in candidates]
        matches = find_contaminated(
            texts, self.evaluation_sets, self.decontamination, self.embed
        )
        for place, match in enumerate(matches):
            if match:
                detail = f"{match.set}, by {match.rule}"
                yield place, _rejected(candidates[place], Why.CONTAMINATED, detail)


def _rejected(candidate: Candidate, why: Why, detail: str) -> Rejected:
    return Rejected(candidate.cell, why, detail, candidate.text)


def _telling_words(texts: Sequence[str]) -> list[Words]:
    telling = []
    for text in texts:
        words = normalised_words(text)
        telling.append(distinctive_words(words) or words)
    return telling


def _as_prompts(candidates: Sequence[Candidate]) -> list[Prompt]:
    return [as_prompt(candidate.text) for candidate in candidates]


def as_prompt(text: str) -> Prompt:
    """Return a text as ingestion compares it."""
    return Prompt(
        prompt_id=prompt_id(text),
        batch="",
        source="",
        source_row="",
        category="",
        licence="",
        prompt=text,
    )
