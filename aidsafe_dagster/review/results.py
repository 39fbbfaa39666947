"""The results of a review: means, preferences, and agreement of raters and judges.

An item counts once, however many people rated it: the intervals are over items. Agreement is
Cohen's kappa with quadratic weights (Cohen 1968), for which 4 is nearer to 5 than 1 is.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import Any

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.quality.statistics import (
    Estimate,
    mean_interval,
    quadratic_kappa,
    win_rate,
)
from aidsafe_dagster.recipe.records import METRICS
from aidsafe_dagster.review.marks import (
    PREFERENCE,
    TIE,
    Marks,
    MarkTarget,
    MeanMarks,
    marks_of_judges,
    marks_of_raters,
    mean_marks,
)
from aidsafe_dagster.review.ratings import Rating
from aidsafe_dagster.review.sample import KeyRow

ResultRow = dict[str, Any]
_ASPECTS = (*METRICS, PREFERENCE)


@dataclass(frozen=True)
class Results:
    """The tables of one review, each a list of rows. They are empty if nobody has rated."""

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
    """Compute the results of a review so far. The judges' grades are those in the lake."""
    marks_by_rater = marks_of_raters(key, ratings)
    marks_by_judge = marks_of_judges(lake, {row.prompt_id for row in key})
    means = mean_marks(marks_by_rater)
    return Results(
        review_id=review_id,
        simulated=any(row.simulated for row in key),
        items=len(key),
        raters=_count_answers(ratings),
        scores=_score_rows(means),
        preferences=_preference_rows(means),
        agreement=_agreement_rows(marks_by_rater),
        judges=_judge_rows(means, marks_by_judge),
    )


def _count_answers(ratings: Sequence[Rating]) -> list[ResultRow]:
    """Return a row per rater: items, scores and preferences given."""
    rows: dict[str, ResultRow] = {}
    for rating in sorted(ratings, key=lambda rating: rating.rater):
        rater = rating.rater
        if rater not in rows:
            rows[rater] = {"rater": rater, "items": 0, "scores": 0, "preferences": 0}
        row = rows[rater]
        row["items"] += 1
        row["scores"] += _count_scores(rating)
        row["preferences"] += rating.preferred is not None
    return list(rows.values())


def _count_scores(rating: Rating) -> int:
    count = 0
    for side in (rating.left, rating.right):
        scores = [getattr(side, metric) for metric in METRICS]
        count += len(scores) - scores.count(None)
    return count


def _score_rows(means: MeanMarks) -> list[ResultRow]:
    """Return a row per version and metric: the mean with its interval."""
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for target, mean in means.items():
        values[target.versions, target.aspect].append(mean)
    # The targets of preferences are pairs of versions.
    versions = {target.versions for target in means if target.aspect != PREFERENCE}
    rows = []
    for version in sorted(versions):
        for metric in METRICS:
            estimate = mean_interval(values[version, metric])
            if estimate:
                row = {"version": version, "metric": metric}
                rows.append(row | _estimate_cells("mean", estimate))
    return rows


def _preference_rows(means: MeanMarks) -> list[ResultRow]:
    """Return a row per pair of versions, by the majority of each item's raters.

    An item on which the raters are split counts as a tie.
    """
    outcomes: dict[str, Counter[int]] = defaultdict(Counter)
    for target, mean in means.items():
        if target.aspect == PREFERENCE:
            outcomes[target.versions][_outcome(mean)] += 1
    rows = []
    for versions, counts in sorted(outcomes.items()):
        result = win_rate(
            counts[1],
            counts[0],
            counts[-1],
        )
        # It is None only without outcomes.
        assert result is not None
        row: ResultRow = {
            "versions": versions,
            "wins": result.wins,
            "ties": result.ties,
            "losses": result.losses,
        }
        rows.append(row | _estimate_cells("win_rate", result.rate))
    return rows


def _outcome(mean: float) -> int:
    """Return 1 for a win, 0 for a tie, -1 for a loss."""
    if mean == TIE:
        return 0
    if mean > TIE:
        return 1
    return -1


def _estimate_cells(name: str, estimate: Estimate) -> ResultRow:
    cells: ResultRow = {}
    values = {name: estimate.value, "low": estimate.low, "high": estimate.high}
    for column, value in values.items():
        cells[column] = None if value is None else round(value, 3)
    return cells | {"items": estimate.n}


def _agreement_rows(marks_by_rater: Mapping[str, Marks]) -> list[ResultRow]:
    """Return a row per metric: the mean of the kappas of all pairs of raters."""
    rows = []
    for aspect in _ASPECTS:
        kappas = []
        marks_in_common = 0
        for first, second in combinations(marks_by_rater.values(), 2):
            targets = _common_targets(first, second, aspect)
            marks_in_common += len(targets)
            # Kappa needs the marks of both in the same order.
            first_marks = [first[target] for target in targets]
            second_marks = [second[target] for target in targets]
            kappa = quadratic_kappa(first_marks, second_marks)
            if kappa is not None:
                kappas.append(kappa)
        if kappas:
            rows.append(
                {
                    "what": aspect,
                    "kappa": round(fmean(kappas), 3),
                    "rater_pairs": len(kappas),
                    "marks_in_common": marks_in_common,
                }
            )
    return rows


def _judge_rows(
    means: MeanMarks, marks_by_judge: Mapping[str, Marks]
) -> list[ResultRow]:
    """Return a row per judge and metric: agreement with the raters' mean.

    Kappa compares the mean, rounded to a mark. Spearman's rank correlation takes the mean itself.
    """
    rows = []
    for judge, marks in marks_by_judge.items():
        for aspect in _ASPECTS:
            targets = _common_targets(means, marks, aspect)
            people, rounded, judged = [], [], []
            for target in targets:
                people.append(means[target])
                rounded.append(_to_mark(means[target], aspect))
                judged.append(marks[target])
            kappa = quadratic_kappa(rounded, judged)
            # Undefined where both gave everything the same mark.
            if kappa is not None:
                rows.append(
                    {
                        "judge": judge,
                        "what": aspect,
                        "kappa": round(kappa, 3),
                        "spearman": _spearman(people, judged),
                        "marks_in_common": len(targets),
                    }
                )
    return rows


def _common_targets(
    first: Mapping[MarkTarget, float], second: Mapping[MarkTarget, float], aspect: str
) -> list[MarkTarget]:
    """Return what both have marked on one aspect, in a stable order."""
    common = first.keys() & second.keys()
    return sorted(target for target in common if target.aspect == aspect)


def _to_mark(mean: float, aspect: str) -> int:
    """Round a mean to the nearest score, halves up; of a preference, to loss, tie or win."""
    if aspect == PREFERENCE:
        return TIE + 2 * _outcome(mean)
    # round() would round halves to the nearest even number.
    return int(mean + 0.5)


def _spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return the rank correlation; None where it is undefined because one side does not vary."""
    from scipy.stats import spearmanr  # noqa: PLC0415 - half a second to import, needed only here

    # scipy warns and returns NaN, which no table can show.
    if len(set(first)) < 2 or len(set(second)) < 2:
        return None
    return round(float(spearmanr(first, second).statistic), 3)
