"""Files of ratings, as the form or a spreadsheet saves them: read, checked row by row, one rating per item.

A mistake names the file, the row, the column and what would be valid. An empty cell is no mistake: it was not rated.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import METRICS, Record
from aidsafe_dagster.review.form import ANSWERS, SIDES
from aidsafe_dagster.sources.files import FileRow, read_file
from aidsafe_dagster.sources.rejection import Rejection

_NEEDED = ("review_id", "item_id", "side", *METRICS, "preferred")
_PREFERRED = ("left", "right", "tie")
_RATER = re.compile(r"[^\W_][\w .'-]{0,39}")


class SideScores(Record):
    """1 (worst) to 5 (best); null: not rated."""

    relevance: int | None
    coherence: int | None
    completeness: int | None
    policy_to_cot: int | None
    policy_to_response: int | None
    response_to_cot: int | None


class Rating(Record):
    """What one rater says of one item."""

    review_id: str
    item_id: str
    rater: str
    left: SideScores
    right: SideScores
    preferred: Literal["left", "right", "tie"] | None
    comment: str


@dataclass(frozen=True)
class _Row:
    """One row of a file of ratings; `place` is what messages call it."""

    file: Path
    number: int
    cells: Mapping[str, Any]

    @property
    def place(self) -> str:
        return f"{self.file}: row {self.number}"

    def text(self, column: str) -> str:
        value = self.cells.get(column)
        return "" if value is None else str(value).strip()

    def wrong(self, column: str, why: str) -> SetupError:
        return SetupError(f"{self.place}, column '{column}': {why}")

    def one_of(self, column: str, choices: Sequence[str], *, needed: bool) -> str:
        value = self.text(column).casefold()
        if value not in choices and (value or needed):
            empty = "" if needed else ", or empty"
            raise self.wrong(
                column, f"'{self.text(column)}' is not valid; valid: {', '.join(choices)}{empty}"
            )
        return value

    def score(self, column: str) -> int | None:
        value = self.text(column).removesuffix(".0")
        if value and value not in ("1", "2", "3", "4", "5"):
            raise self.wrong(
                column, f"'{self.text(column)}' is no score; valid: 1, 2, 3, 4, 5, or empty"
            )
        return int(value) if value else None


def read_ratings(file: Path, rater: str | None, keys: Mapping[str, Sequence[str]]) -> list[Rating]:
    """The ratings of a file, of one review and one rater, in the order of the items.

    Args:
        file: CSV or JSON, with the columns of the form; others are left aside.
        rater: who rated; the file's own column `rater` says it otherwise.
        keys: review id → ids of its items, for all reviews made here.

    Raises:
        SetupError: see the module; or nothing is rated in the file.
    """
    rows = [row for row in _rows(file) if any(row.text(column) for column in ANSWERS)]
    if not rows:
        raise SetupError(f"{file}: no row is rated: the columns {', '.join(ANSWERS)} are all empty")
    review_id = _review_of(rows, keys)
    name = _rater_of(rows, rater)
    by_item = _by_item(rows, keys[review_id])
    return [_rating(review_id, item, name, by_item[item]) for item in sorted(by_item)]


def _rows(file: Path) -> list[_Row]:
    found = read_file(file)
    if missing := [column for column in _NEEDED if column not in found.columns]:
        there = ", ".join(found.columns)
        raise SetupError(
            f"{file}: no column '{missing[0]}'. Found: {there}. A CSV file is separated by commas"
        )
    header = 1 if ".csv" in file.name.lower() else 0  # a spreadsheet counts it
    return [_Row(file, row.number + header, _cells(file, row, header)) for row in found.rows]


def _cells(file: Path, row: FileRow, header: int) -> Mapping[str, Any]:
    if isinstance(row.content, Rejection):
        raise SetupError(f"{file}: row {row.number + header}: {row.content.detail}")
    return row.content


def _review_of(rows: Sequence[_Row], keys: Mapping[str, Sequence[str]]) -> str:
    review_id = rows[0].text("review_id")
    for row in rows:
        if row.text("review_id") not in keys:
            known = ", ".join(sorted(keys)) or "(none)"
            raise row.wrong(
                "review_id",
                f"'{row.text('review_id')}' is no review that was made here; made: {known}",
            )
        if row.text("review_id") != review_id:
            raise row.wrong(
                "review_id", f"'{row.text('review_id')}' in a file that begins with '{review_id}'"
            )
    return review_id


def _rater_of(rows: Sequence[_Row], rater: str | None) -> str:
    name = (rater or rows[0].text("rater")).strip()
    if not name:
        raise SetupError(f"{rows[0].file}: nobody is named as the rater; add --rater NAME")
    if not _RATER.fullmatch(name):
        raise SetupError(
            f"{rows[0].file}: '{name}' is no name of a rater: letters, digits, spaces and .'-, at most 40"
        )
    for row in rows:
        if row.text("rater") not in ("", name):
            raise row.wrong(
                "rater", f"'{row.text('rater')}', where '{name}' is expected: one file, one rater"
            )
    return name


def _by_item(rows: Sequence[_Row], items: Sequence[str]) -> dict[str, dict[str, _Row]]:
    """Item → side → its row."""
    found: dict[str, dict[str, _Row]] = {}
    for row in rows:
        item, side = row.text("item_id"), row.one_of("side", SIDES, needed=True)
        if item not in items:
            raise row.wrong(
                "item_id", f"'{item}' is no item of this review; valid: {items[0]} to {items[-1]}"
            )
        if before := found.setdefault(item, {}).get(side):
            raise row.wrong("item_id", f"{item} {side} is in row {before.number} already")
        found[item][side] = row
    return found


def _rating(review_id: str, item: str, rater: str, sides: Mapping[str, _Row]) -> Rating:
    scores = {side: _scores(sides.get(side)) for side in SIDES}
    said = {row.text("comment") for row in sides.values()} - {""}
    values = {
        "preferred": _preferred(list(sides.values())),
        "comment": "\n".join(sorted(said)),
        **scores,
    }
    return Rating.model_validate({"review_id": review_id, "item_id": item, "rater": rater} | values)


def _scores(row: _Row | None) -> SideScores:
    return SideScores(**{metric: row.score(metric) if row else None for metric in METRICS})


def _preferred(rows: Sequence[_Row]) -> str | None:
    """What either row of the item says; both may, if they say the same."""
    said = [value for row in rows if (value := row.one_of("preferred", _PREFERRED, needed=False))]
    if len(set(said)) > 1:
        raise rows[1].wrong(
            "preferred", f"'{said[1]}', but row {rows[0].number} says '{said[0]}' of the same item"
        )
    return said[0] if said else None
