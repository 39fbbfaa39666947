"""Who scored what, unblinded: of people by the key, of judges from their grades."""

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
_AS_SCORE = {"loss": 1, "tie": TIE, "win": 5}


class Place(NamedTuple):
    """What a mark is given to."""

    prompt_id: str
    versions: str
    """One version, or '<version> against <version>'."""
    what: str
    """A metric, or `PREFERENCE`."""


Marks = Mapping[Place, int]
"""1 to 5; of a preference: 1 loss, 3 tie, 5 win."""
Means = Mapping[Place, float]


def marks_of_raters(key: Sequence[KeyRow], ratings: Sequence[Rating]) -> dict[str, Marks]:
    """Rater → marks, in the order of their names."""
    rows = {row.item_id: row for row in key}
    found: dict[str, dict[Place, int]] = defaultdict(dict)
    for rating in ratings:
        found[rating.rater].update(_scores(rows[rating.item_id], rating))
        found[rating.rater].update(_preference(rows[rating.item_id], rating))
    return dict(sorted(found.items()))


def _scores(row: KeyRow, rating: Rating) -> Iterator[tuple[Place, int]]:
    for version, side in ((row.left, rating.left), (row.right, rating.right)):
        for metric in METRICS:
            if score := getattr(side, metric):
                yield Place(row.prompt_id, version, metric), score


def _preference(row: KeyRow, rating: Rating) -> Iterator[tuple[Place, int]]:
    if rating.preferred:
        preferred = {"left": row.left, "right": row.right, "tie": None}[rating.preferred]
        one, other = _in_usual_order(row.left, row.right)
        outcome = {one: "win", other: "loss", None: "tie"}[preferred]
        yield Place(row.prompt_id, f"{one} against {other}", PREFERENCE), _AS_SCORE[outcome]


def _in_usual_order(left: Version, right: Version) -> Pair:
    return (left, right) if (left, right) in PAIRS or (right, left) not in PAIRS else (right, left)


def means(raters: Mapping[str, Marks]) -> Means:
    """Mean of all who gave a mark to the same thing."""
    given = defaultdict(list)
    for marks in raters.values():
        for place, mark in marks.items():
            given[place].append(mark)
    return {place: fmean(marks) for place, marks in given.items()}


def marks_of_judges(lake: Lake, prompt_ids: set[str]) -> dict[str, Marks]:
    """Judge, with its model → marks on these prompts."""
    found: dict[str, dict[Place, int]] = defaultdict(dict)
    for row in _graded(lake, prompt_ids):
        for grade in row.grades:
            for metric in METRICS:
                place = Place(row.prompt_id, grade.version, metric)
                found[f"{grade.judge} ({grade.model})"][place] = getattr(grade, metric).score
        for compared in row.comparisons:
            place = Place(
                row.prompt_id, f"{compared.version} against {compared.against}", PREFERENCE
            )
            found[f"{compared.judge} ({compared.model})"][place] = _AS_SCORE[compared.outcome]
    return dict(sorted(found.items()))


def _graded(lake: Lake, prompt_ids: set[str]) -> Iterator[CotGrades]:
    for batch in lake.batches(Stage.COT_GRADES):
        rows = lake.rows(Stage.COT_GRADES, batch)
        yield from from_frame(rows.filter(rows["prompt_id"].is_in(sorted(prompt_ids))), CotGrades)
