from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import METRICS
from aidsafe_dagster.review.form import csv_form
from aidsafe_dagster.review.ratings import Rating, read_ratings
from aidsafe_dagster.review.sample import ReviewSample
from tests.review.builders import a_file, a_lake, a_row, a_sample


def drawn(folder: Path) -> ReviewSample:
    return a_sample(a_lake(folder))


def read(file: Path, sample: ReviewSample, rater: str | None = "Ann") -> list[Rating]:
    return read_ratings(
        file, rater, {sample.review_id: [row.item_id for row in sample.key], "review-other": ["x"]}
    )


def mistake(
    folder: Path, sample: ReviewSample, *rows: dict[str, Any], rater: str | None = "Ann"
) -> str:
    with pytest.raises(SetupError) as raised:
        read(a_file(folder / "r.csv", rows), sample, rater)
    return str(raised.value)


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_scores_preference_and_comment_of_an_item_are_one_rating(
    tmp_path: Path, suffix: str
) -> None:
    sample = drawn(tmp_path)
    left = a_row(
        sample, relevance=5, coherence="2.0", preferred="Right", comment="  Too long; see 2. "
    )
    right = a_row(sample, side="right", relevance="", preferred="")
    (rating,) = read(a_file(tmp_path / f"r.{suffix}", [left, right]), sample)
    assert (rating.rater, rating.item_id, rating.review_id) == ("Ann", "item-001", sample.review_id)
    assert (rating.left.relevance, rating.left.coherence, rating.right.relevance) == (5, 2, None)
    assert (rating.preferred, rating.comment) == ("right", "Too long; see 2.")


def test_items_that_were_left_empty_are_not_rated(tmp_path: Path) -> None:
    sample = drawn(tmp_path)
    file = tmp_path / "form.csv"
    file.write_text(csv_form(sample), encoding="utf-8")
    with pytest.raises(SetupError, match="no row is rated"):
        read(file, sample)
    empty = a_row(sample, "item-002", **dict.fromkeys((*METRICS, "preferred"), ""))
    assert [r.item_id for r in read(a_file(file, [a_row(sample), empty]), sample)] == ["item-001"]


def test_the_rater_may_be_named_by_the_file(tmp_path: Path) -> None:
    sample = drawn(tmp_path)
    file = a_file(tmp_path / "r.csv", [a_row(sample, rater="Zoë O'Hara-Lee Jr.")])
    assert read(file, sample, rater=None)[0].rater == "Zoë O'Hara-Lee Jr."


def test_a_mistake_names_file_row_column_and_what_is_valid(tmp_path: Path) -> None:
    sample = drawn(tmp_path)
    rows = (a_row(sample), a_row(sample, side="right"), a_row(sample, "item-002", coherence="9"))
    found = mistake(tmp_path, sample, *rows)
    assert (
        found
        == f"{tmp_path / 'r.csv'}: row 4, column 'coherence': '9' is no score; valid: 1, 2, 3, 4, 5, or empty"
    )


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ({"relevance": "0"}, "column 'relevance': '0' is no score"),
        ({"relevance": "four"}, "column 'relevance': 'four' is no score"),
        ({"relevance": "4.5"}, "column 'relevance': '4.5' is no score"),
        (
            {"preferred": "middle"},
            "column 'preferred': 'middle' is not valid; valid: left, right, tie, or empty",
        ),
        ({"side": "top"}, "column 'side': 'top' is not valid; valid: left, right"),
        (
            {"item_id": "item-999"},
            "column 'item_id': 'item-999' is no item of this review; valid: item-001 to item-008",
        ),
        (
            {"review_id": "review-1"},
            "column 'review_id': 'review-1' is no review that was made here; made: review-",
        ),
        ({"rater": "Bob"}, "column 'rater': 'Bob', where 'Ann' is expected: one file, one rater"),
    ],
)
def test_every_cell_is_checked(tmp_path: Path, cells: dict[str, str], told: str) -> None:
    sample = drawn(tmp_path)
    assert f"row 2, {told}" in mistake(tmp_path, sample, a_row(sample, **cells))


def test_a_file_is_of_one_review(tmp_path: Path) -> None:
    sample = drawn(tmp_path)
    other = a_row(sample, "x", review_id="review-other")
    assert "'review-other' in a file that begins with" in mistake(
        tmp_path, sample, a_row(sample), other
    )


def test_an_item_s_side_comes_once(tmp_path: Path) -> None:
    sample = drawn(tmp_path)
    found = mistake(tmp_path, sample, a_row(sample), a_row(sample, side="right"), a_row(sample))
    assert found.endswith("row 4, column 'item_id': item-001 left is in row 2 already")


def test_both_rows_of_an_item_prefer_the_same(tmp_path: Path) -> None:
    sample = drawn(tmp_path)
    found = mistake(tmp_path, sample, a_row(sample), a_row(sample, side="right", preferred="tie"))
    assert "column 'preferred': 'tie', but row 2 says 'left' of the same item" in found


@pytest.mark.parametrize(
    ("name", "told"), [(None, "add --rater NAME"), ("../x", "is no name of a rater")]
)
def test_somebody_has_to_have_rated(tmp_path: Path, name: str | None, told: str) -> None:
    sample = drawn(tmp_path)
    assert told in mistake(tmp_path, sample, a_row(sample), rater=name)


def test_a_file_without_a_column_says_which_it_has(tmp_path: Path) -> None:
    sample = drawn(tmp_path)
    row = a_row(sample)
    del row["side"]
    assert "no column 'side'. Found: review_id, item_id, rater" in mistake(tmp_path, sample, row)
