"""Read files of ratings, as the form or a spreadsheet saves them: one rating per item.

Every row is checked. An error names the file, the row, the column and the valid choices. An empty
cell is no error; it was not rated.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import METRICS, Record
from aidsafe_dagster.review.form import ANSWERS, SIDES
from aidsafe_dagster.sources.files import read_file
from aidsafe_dagster.sources.rejection import Rejection

_REQUIRED_COLUMNS = ("review_id", "item_id", "side", *METRICS, "preferred")
_SCORES = ("1", "2", "3", "4", "5")
_PREFERENCES = ("left", "right", "tie")
_RATER = re.compile(r"[^\W_][\w .'-]{0,39}")


class SideScores(Record):
    """Scores from 1 (worst) to 5 (best). Null means not rated."""

    relevance: int | None
    coherence: int | None
    completeness: int | None
    policy_to_cot: int | None
    policy_to_response: int | None
    response_to_cot: int | None


class Rating(Record):
    """One rater's answers on one item."""

    review_id: str
    item_id: str
    rater: str
    left: SideScores
    right: SideScores
    preferred: Literal["left", "right", "tie"] | None
    comment: str


@dataclass(frozen=True)
class _Row:
    """One row of a file of ratings. `number` is the one that a spreadsheet shows."""

    file: Path
    number: int
    cells: Mapping[str, Any]

    def text(self, column: str) -> str:
        value = self.cells.get(column)
        if value is None:
            return ""
        return str(value).strip()

    def error(self, column: str, reason: str) -> SetupError:
        return SetupError(
            f"{self.file}: row {self.number}, column '{column}': {reason}"
        )

    def choice(self, column: str, choices: Sequence[str], *, required: bool) -> str:
        """Return the value of a cell, lower case.

        Raises:
            SetupError: the value is not one of the choices, or is empty but required.
        """
        value = self.text(column).casefold()
        is_allowed_blank = not value and not required
        if value in choices or is_allowed_blank:
            return value
        valid = ", ".join(choices)
        if not required:
            valid += ", or empty"
        reason = f"'{self.text(column)}' is not valid; valid: {valid}"
        raise self.error(column, reason)

    def score(self, column: str) -> int | None:
        """Return the score in a cell; None if the cell is empty.

        Raises:
            SetupError: the cell holds anything else.
        """
        # Spreadsheets may save whole numbers as decimals.
        value = self.text(column).removesuffix(".0")
        if not value:
            return None
        if value not in _SCORES:
            valid = f"{', '.join(_SCORES)}, or empty"
            reason = f"'{self.text(column)}' is not a score; valid: {valid}"
            raise self.error(column, reason)
        return int(value)


def read_ratings(
    file: Path, rater: str | None, keys: Mapping[str, Sequence[str]]
) -> list[Rating]:
    """Return the ratings in a file, by one rater of one review, in the order of the items.

    Args:
        file: CSV or JSON, with the columns of the form; other columns are ignored.
        rater: name of the rater; None: the file's column `rater`.
        keys: review id → ids of its items, for all reviews made here.

    Raises:
        SetupError: a row is not valid, or nothing is rated in the file.
    """
    # A rater may stop anywhere, so rows without any answer are no error.
    rows = [row for row in _read_rows(file) if _is_rated(row)]
    if not rows:
        columns = ", ".join(ANSWERS)
        raise SetupError(
            f"{file}: no row is rated; the columns {columns} are all empty"
        )
    review_id = _parse_review_id(rows, keys)
    rater_name = _parse_rater(rows, rater)
    items = _group_by_item(rows, keys[review_id])
    ratings = []
    for item_id, sides in sorted(items.items()):
        rating = _to_rating(review_id, item_id, rater_name, sides)
        ratings.append(rating)
    return ratings


def _is_rated(row: _Row) -> bool:
    return any(map(row.text, ANSWERS))


def _read_rows(file: Path) -> list[_Row]:
    # `rater` may be missing: the command line can name the rater, too.
    content = read_file(file)
    for column in _REQUIRED_COLUMNS:
        if column not in content.columns:
            columns = ", ".join(content.columns)
            raise SetupError(
                f"{file}: no column '{column}'. Found: {columns}. "
                "Columns of a CSV file must be separated by commas"
            )
    # A spreadsheet counts the header as row 1.
    is_csv = ".csv" in file.name.lower()
    offset = 1 if is_csv else 0
    rows = []
    for row in content.rows:
        number = row.number + offset
        if isinstance(row.content, Rejection):
            raise SetupError(f"{file}: row {number}: {row.content.detail}")
        rows.append(_Row(file, number, row.content))
    return rows


def _parse_review_id(rows: Sequence[_Row], keys: Mapping[str, Sequence[str]]) -> str:
    first = rows[0].text("review_id")
    for row in rows:
        review_id = row.text("review_id")
        if review_id not in keys:
            reviews = ", ".join(sorted(keys)) or "(none)"
            reason = (
                f"'{review_id}' is not a review that was made here; valid: {reviews}"
            )
            raise row.error("review_id", reason)
        # Two reviews number their items alike, so a pasted row would count for the wrong one.
        if review_id != first:
            raise row.error(
                "review_id", f"'{review_id}', but the file begins with '{first}'"
            )
    return first


def _parse_rater(rows: Sequence[_Row], rater: str | None) -> str:
    file = rows[0].file
    name = (rater or rows[0].text("rater")).strip()
    if not name:
        raise SetupError(f"{file}: the rater has no name; add --rater NAME")
    if not _RATER.fullmatch(name):
        raise SetupError(
            f"{file}: '{name}' is not a valid rater; valid: at most 40 letters, digits, spaces "
            "and .'-"
        )
    for row in rows:
        other = row.text("rater")
        # The form leaves the column empty if the rater gave no name.
        if other not in ("", name):
            reason = f"'{other}', but '{name}' is expected; a file has one rater"
            raise row.error("rater", reason)
    return name


def _group_by_item(
    rows: Sequence[_Row], item_ids: Sequence[str]
) -> dict[str, dict[str, _Row]]:
    """Return item id → side → its row."""
    items: dict[str, dict[str, _Row]] = {}
    for row in rows:
        item_id = row.text("item_id")
        side = row.choice("side", SIDES, required=True)
        if item_id not in item_ids:
            valid = f"{item_ids[0]} to {item_ids[-1]}"
            reason = f"'{item_id}' is not an item of this review; valid: {valid}"
            raise row.error("item_id", reason)
        # Rows that were copied in a spreadsheet may contradict each other.
        sides = items.setdefault(item_id, {})
        if side in sides:
            reason = f"{item_id} {side} is already in row {sides[side].number}"
            raise row.error("item_id", reason)
        sides[side] = row
    return items


def _to_rating(
    review_id: str, item_id: str, rater: str, sides: Mapping[str, _Row]
) -> Rating:
    # The form saves a comment once. A spreadsheet may repeat it on both rows of an item.
    comments = set()
    for row in sides.values():
        comment = row.text("comment")
        if comment:
            comments.add(comment)
    return Rating.model_validate(
        {
            "review_id": review_id,
            "item_id": item_id,
            "rater": rater,
            "left": _side_scores(sides.get("left")),
            "right": _side_scores(sides.get("right")),
            "preferred": _parse_preference(list(sides.values())),
            "comment": "\n".join(sorted(comments)),
        }
    )


def _side_scores(row: _Row | None) -> SideScores:
    if row is None:
        return SideScores(**dict.fromkeys(METRICS))
    return SideScores(**{metric: row.score(metric) for metric in METRICS})


def _parse_preference(rows: Sequence[_Row]) -> str | None:
    """Return the preference of an item. Its rows may both have one if they are equal."""
    preference: str | None = None
    for row in rows:
        value = row.choice("preferred", _PREFERENCES, required=False)
        if value and preference and value != preference:
            reason = f"'{value}', but row {rows[0].number} has '{preference}' for the same item"
            raise row.error("preferred", reason)
        preference = value or preference
    return preference
