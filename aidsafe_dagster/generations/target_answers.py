"""What the targets of two generations said under beliefs, on the same prompts."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from aidsafe_dagster.comparisons.sides import Side
from aidsafe_dagster.lake.tables import from_frame
from aidsafe_dagster.quality.statistics import (
    Estimate,
    paired_difference,
    paired_shares,
)
from aidsafe_dagster.recipe.records import (
    BELIEF_CANDIDATES,
    PreferencePair,
    Stage,
    TriedBelief,
)


@dataclass(frozen=True)
class TargetAnswers:
    """What came of one prompt in one generation."""

    tried: int
    """Beliefs."""
    valid: int
    """Of them, those under which the target gave a valid answer."""
    is_misled: bool
    """Some answer may be the rejected side of a pair."""
    worst: float | None
    """The lowest policy score of an answer."""
    margin: float | None
    """Of its pair; None without one."""


@dataclass(frozen=True)
class TargetShare:
    """Of how many prompts something is true in each generation."""

    name: str
    n: int
    a: int
    b: int
    difference: Estimate | None


@dataclass(frozen=True)
class TargetMean:
    """A mean in each generation, over the prompts that have a value in both."""

    name: str
    a: float | None
    b: float | None
    difference: Estimate | None


@dataclass(frozen=True)
class Speaker:
    """Who gave the answers to avoid in one generation."""

    model: str
    adapter: str
    """Name and hash of the weights; empty: no trained adapter."""
    answers: int
    pairs: int
    """Whose rejected side it is."""


_NOTHING = TargetAnswers(0, 0, is_misled=False, worst=None, margin=None)


def target_answers(
    side: Side, prompt_ids: Collection[str]
) -> Mapping[str, TargetAnswers]:
    """Return what came of each prompt, those of which nothing came included."""
    margins = {pair.prompt_id: pair.margin for pair in _pairs(side)}
    tried: dict[str, list[TriedBelief]] = {}
    for belief in _tried(side):
        tried.setdefault(belief.prompt_id, []).append(belief)
    answers = {}
    for prompt_id in prompt_ids:
        beliefs = tried.get(prompt_id, [])
        scores = [one.score for one in beliefs if one.score is not None]
        answers[prompt_id] = TargetAnswers(
            tried=len(beliefs),
            valid=len(scores),
            is_misled=any(
                one.score is not None and not one.left_out for one in beliefs
            ),
            worst=min(scores, default=None),
            margin=margins.get(prompt_id),
        )
    return answers


def speakers(side: Side) -> list[Speaker]:
    """Return who gave the answers to avoid, the most frequent first."""
    answers: Counter[tuple[str, str]] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    for belief in _tried(side):
        # Without a valid answer nobody spoke.
        if not belief.target_model:
            continue
        key = (belief.target_model, belief.target_adapter)
        answers[key] += 1
        pairs[key] += belief.is_rejected_side
    return [
        Speaker(model, adapter, count, pairs[model, adapter])
        for (model, adapter), count in answers.most_common()
    ]


def compare_shares(
    a: Mapping[str, TargetAnswers], b: Mapping[str, TargetAnswers]
) -> tuple[TargetShare, ...]:
    """Compare shares of all prompts, those that failed or were never tried as well."""
    tests: Mapping[str, Callable[[TargetAnswers], bool]] = {
        "asked under a belief": lambda one: one.tried > 0,
        "with a valid answer": lambda one: one.valid > 0,
        "misled by some belief": lambda one: one.is_misled,
        "with a preference pair": lambda one: one.margin is not None,
    }
    figures = []
    for name, test in tests.items():
        first = {prompt_id for prompt_id, one in a.items() if test(one)}
        second = {prompt_id for prompt_id, one in b.items() if test(one)}
        difference = paired_shares(len(second - first), len(first - second), len(a))
        figures.append(TargetShare(name, len(a), len(first), len(second), difference))
    return tuple(figures)


def compare_means(
    a: Mapping[str, TargetAnswers],
    b: Mapping[str, TargetAnswers],
    seed: int,
    resamples: int,
) -> tuple[TargetMean, ...]:
    figures = []
    for name, field in (("worst answer's score", "worst"), ("margin", "margin")):
        first, second = [], []
        for prompt_id, one in a.items():
            values = (getattr(one, field), getattr(b.get(prompt_id, _NOTHING), field))
            if None not in values:
                first.append(values[0])
                second.append(values[1])
        difference = paired_difference(second, first, seed, resamples)
        figures.append(TargetMean(name, _mean(first), _mean(second), difference))
    return tuple(figures)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _tried(side: Side) -> list[TriedBelief]:
    tried: list[TriedBelief] = []
    for batch, lake in side.lakes.items():
        # The table is written with the stage.
        if side.has(Stage.PREFERENCE_PAIRS, batch) and lake.has(
            BELIEF_CANDIDATES, batch
        ):
            tried += from_frame(lake.rows(BELIEF_CANDIDATES, batch), TriedBelief)
    return tried


def _pairs(side: Side) -> list[PreferencePair]:
    pairs: list[PreferencePair] = []
    for batch, lake in side.lakes.items():
        if side.has(Stage.PREFERENCE_PAIRS, batch):
            pairs += lake.records(Stage.PREFERENCE_PAIRS, batch, PreferencePair)
    return pairs
