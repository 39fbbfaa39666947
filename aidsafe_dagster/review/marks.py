"""Marks without the blinding: of raters by the key of the review, of judges from their grades."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import from_frame
from aidsafe_dagster.recipe.records import METRICS, CotGrades, Stage, Version
from aidsafe_dagster.review.ratings import Rating
from aidsafe_dagster.review.sample import PAIRS, KeyRow, Pair

PREFERENCE = "preference"
TIE = 3
# On the scale of the scores, so that kappa weighs a loss against a win like a 1 against a 5.
_OUTCOME_MARKS = {"loss": 1, "tie": TIE, "win": 5}


class MarkTarget(NamedTuple):
    """What a mark is given to."""

    prompt_id: str
    versions: str
    """One version, or '<version> against <version>'."""
    aspect: str
    """A metric, or `PREFERENCE`."""


Marks = Mapping[MarkTarget, int]
"""1 to 5. The mark of a preference is 1 for a loss, 3 for a tie, 5 for a win."""
MeanMarks = Mapping[MarkTarget, float]


def marks_of_raters(
    key: Sequence[KeyRow], ratings: Sequence[Rating]
) -> dict[str, Marks]:
    """Return the marks of each rater, in the order of their names."""
    key_rows = {row.item_id: row for row in key}
    marks: dict[str, dict[MarkTarget, int]] = defaultdict(dict)
    for rating in ratings:
        row = key_rows[rating.item_id]
        own = marks[rating.rater]
        own.update(_score_marks(row, rating))
        if rating.preferred:
            target, mark = _preference_mark(row, rating.preferred)
            own[target] = mark
    return dict(sorted(marks.items()))


def _score_marks(row: KeyRow, rating: Rating) -> dict[MarkTarget, int]:
    marks = {}
    for version, side in ((row.left, rating.left), (row.right, rating.right)):
        for metric in METRICS:
            score = getattr(side, metric)
            # None means not rated.
            if score:
                marks[MarkTarget(row.prompt_id, version, metric)] = score
    return marks


def _preference_mark(row: KeyRow, preferred: str) -> tuple[MarkTarget, int]:
    version, against = _order_pair(row.left, row.right)
    if preferred == "tie":
        outcome = "tie"
    else:
        preferred_version = row.left if preferred == "left" else row.right
        outcome = "win" if preferred_version == version else "loss"
    target = MarkTarget(
        row.prompt_id,
        f"{version} against {against}",
        PREFERENCE,
    )
    return target, _OUTCOME_MARKS[outcome]


def _order_pair(left: Version, right: Version) -> Pair:
    """Return a pair in the order of `PAIRS`, so that both orders on the page count together."""
    if (left, right) not in PAIRS and (right, left) in PAIRS:
        return right, left
    return left, right


def mean_marks(marks_by_rater: Mapping[str, Marks]) -> MeanMarks:
    """Return the mean of all marks given to the same target."""
    values = defaultdict(list)
    for marks in marks_by_rater.values():
        for target, mark in marks.items():
            values[target].append(mark)
    return {target: fmean(marks) for target, marks in values.items()}


def marks_of_judges(lake: Lake, prompt_ids: set[str]) -> dict[str, Marks]:
    """Return the marks of each judge, named with its model, on these prompts."""
    marks: dict[str, dict[MarkTarget, int]] = defaultdict(dict)
    for row in _read_grades(lake, prompt_ids):
        for grade in row.grades:
            # With the model: an earlier batch may have had another one in the same role.
            own = marks[f"{grade.judge} ({grade.model})"]
            for metric in METRICS:
                target = MarkTarget(row.prompt_id, grade.version, metric)
                own[target] = getattr(grade, metric).score
        for comparison in row.comparisons:
            versions = f"{comparison.version} against {comparison.against}"
            target = MarkTarget(row.prompt_id, versions, PREFERENCE)
            judge = f"{comparison.judge} ({comparison.model})"
            marks[judge][target] = _OUTCOME_MARKS[comparison.outcome]
    return dict(sorted(marks.items()))


def _read_grades(lake: Lake, prompt_ids: set[str]) -> Iterator[CotGrades]:
    for batch in lake.batches(Stage.COT_GRADES):
        rows = lake.rows(Stage.COT_GRADES, batch)
        # Filtered as columns, since most batches have few of the prompts.
        wanted = rows.filter(rows["prompt_id"].is_in(sorted(prompt_ids)))
        yield from from_frame(wanted, CotGrades)
