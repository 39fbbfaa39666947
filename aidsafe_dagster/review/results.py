"""What the raters said: means, preferences, and how far people agree with each other and with the judges.

An item counts once however many rated it: the intervals are over items. Agreement is Cohen's kappa with quadratic
weights (Cohen 1968), which knows that 4 is nearer to 5 than 1 is.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import Any

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.quality.statistics import Estimate, mean_interval, quadratic_kappa, win_rate
from aidsafe_dagster.recipe.records import METRICS
from aidsafe_dagster.review.form import SIDES
from aidsafe_dagster.review.marks import (
    PREFERENCE,
    TIE,
    Marks,
    Means,
    marks_of_judges,
    marks_of_raters,
    means,
)
from aidsafe_dagster.review.ratings import Rating
from aidsafe_dagster.review.sample import KeyRow

ResultRow = dict[str, Any]


@dataclass(frozen=True)
class Results:
    """The tables of one review, each a list of lines; empty where nobody rated."""

    review_id: str
    simulated: bool
    items: int
    raters: list[ResultRow]
    scores: list[ResultRow]
    preferences: list[ResultRow]
    agreement: list[ResultRow]
    judges: list[ResultRow]


def summarise_review(
    review_id: str, key: Sequence[KeyRow], ratings: Sequence[Rating], lake: Lake
) -> Results:
    """All that a review has found so far; the judges' grades are those in the lake."""
    raters = marks_of_raters(key, ratings)
    people = means(raters)
    return Results(
        review_id=review_id,
        simulated=any(row.simulated for row in key),
        items=len(key),
        raters=[
            _progress(rater, ratings) for rater in sorted({rating.rater for rating in ratings})
        ],
        scores=list(_scores(people)),
        preferences=list(_preferences(people)),
        agreement=list(_agreement(raters)),
        judges=list(_with_judges(people, marks_of_judges(lake, {row.prompt_id for row in key}))),
    )


def _progress(rater: str, ratings: Sequence[Rating]) -> ResultRow:
    own = [rating for rating in ratings if rating.rater == rater]
    scores = [
        getattr(getattr(rating, side), metric)
        for rating in own
        for side in SIDES
        for metric in METRICS
    ]
    preferences = [rating.preferred for rating in own if rating.preferred]
    scored = len(scores) - scores.count(None)
    return {"rater": rater, "items": len(own), "scores": scored, "preferences": len(preferences)}


def _scores(people: Means) -> Iterator[ResultRow]:
    for version in sorted({place.versions for place in people if place.what != PREFERENCE}):
        for metric in METRICS:
            of_metric = [
                mean
                for place, mean in people.items()
                if (place.versions, place.what) == (version, metric)
            ]
            if estimate := mean_interval(of_metric):
                yield {"version": version, "metric": metric, **_interval("mean", estimate)}


def _preferences(people: Means) -> Iterator[ResultRow]:
    """By the majority of those who rated an item; one that they are split on is a tie."""
    preferred = {place: mean for place, mean in people.items() if place.what == PREFERENCE}
    for versions in sorted({place.versions for place in preferred}):
        outcomes = Counter(
            _sign(mean) for place, mean in preferred.items() if place.versions == versions
        )
        if found := win_rate(outcomes[1], outcomes[0], outcomes[-1]):
            counts = {"wins": found.wins, "ties": found.ties, "losses": found.losses}
            yield {"versions": versions, **counts, **_interval("win_rate", found.rate)}


def _sign(mean: float) -> int:
    """1 for a win, 0 for a tie, -1 for a loss."""
    return (mean > TIE) - (mean < TIE)


def _interval(name: str, estimate: Estimate) -> ResultRow:
    values = {name: estimate.value, "low": estimate.low, "high": estimate.high}
    rounded = {
        column: None if value is None else round(value, 3) for column, value in values.items()
    }
    return {**rounded, "items": estimate.n}


def _agreement(raters: Mapping[str, Marks]) -> Iterator[ResultRow]:
    """Per metric, the mean of the kappas of all pairs of raters."""
    for what in (*METRICS, PREFERENCE):
        of_pairs = [_common(one, other, what) for one, other in combinations(raters.values(), 2)]
        kappas = [kappa for marks in of_pairs if (kappa := quadratic_kappa(*marks)) is not None]
        if kappas:
            common = sum(len(one) for one, _ in of_pairs)
            yield {
                "what": what,
                "kappa": round(fmean(kappas), 3),
                "rater_pairs": len(kappas),
                "marks_in_common": common,
            }


def _common(one: Marks, other: Marks, what: str) -> tuple[list[int], list[int]]:
    """The marks of two on what both gave one to, in the same order."""
    places = sorted(place for place in one.keys() & other.keys() if place.what == what)
    return [one[place] for place in places], [other[place] for place in places]


def _with_judges(people: Means, judges: Mapping[str, Marks]) -> Iterator[ResultRow]:
    """Per judge and metric: kappa with the people's mean, rounded; Spearman's rank correlation with the mean itself."""
    for judge, marks in judges.items():
        for what in (*METRICS, PREFERENCE):
            places = sorted(place for place in people.keys() & marks.keys() if place.what == what)
            mean, judged = [people[place] for place in places], [marks[place] for place in places]
            kappa = quadratic_kappa([_rounded(value, what) for value in mean], judged)
            if kappa is not None:
                found = {
                    "kappa": round(kappa, 3),
                    "spearman": _spearman(mean, judged),
                    "marks_in_common": len(places),
                }
                yield {"judge": judge, "what": what, **found}


def _rounded(mean: float, what: str) -> int:
    """To the nearest score, halves up; of preferences to loss, tie or win."""
    return TIE + 2 * _sign(mean) if what == PREFERENCE else int(mean + 0.5)


def _spearman(one: Sequence[float], other: Sequence[float]) -> float | None:
    """None where it is undefined: one of the two does not vary."""
    from scipy.stats import spearmanr  # noqa: PLC0415 - half a second to import, needed only here

    if len(set(one)) < 2 or len(set(other)) < 2:
        return None
    return round(float(spearmanr(one, other).statistic), 3)
