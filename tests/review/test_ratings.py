from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import METRICS
from aidsafe_dagster.review.form import csv_form
from aidsafe_dagster.review.ratings import Rating, read_ratings
from aidsafe_dagster.review.sample import ReviewSample
from tests.review.builders import a_file, a_lake, a_row, a_sample


def draw(folder: Path) -> ReviewSample:
    return a_sample(a_lake(folder))


def read(file: Path, sample: ReviewSample, rater: str | None = "Ann") -> list[Rating]:
    return read_ratings(
        file,
        rater,
        {sample.review_id: [row.item_id for row in sample.key], "review-other": ["x"]},
    )


def mistake(
    folder: Path, sample: ReviewSample, *rows: dict[str, Any], rater: str | None = "Ann"
) -> str:
    with pytest.raises(SetupError) as raised:
        read(
            a_file(folder / "r.csv", rows),
            sample,
            rater,
        )
    return str(raised.value)


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_scores_preference_and_comment_of_an_item_are_one_rating(
    tmp_path: Path, suffix: str
) -> None:
    sample = draw(tmp_path)
    left = a_row(
        sample,
        relevance=5,
        coherence="2.0",
        preferred="Right",
        comment="  Too long; see 2. ",
    )
    right = a_row(sample, side="right", relevance="", preferred="")
    (rating,) = read(a_file(tmp_path / f"r.{suffix}", [left, right]), sample)
    assert rating.rater == "Ann"
    assert rating.item_id == "item-001"
    assert rating.review_id == sample.review_id
    assert rating.left.relevance == 5
    assert rating.left.coherence == 2
    assert rating.right.relevance is None
    assert rating.preferred == "right"
    assert rating.comment == "Too long; see 2."


def test_empty_items_are_not_rated(tmp_path: Path) -> None:
    sample = draw(tmp_path)
    file = tmp_path / "form.csv"
    file.write_text(csv_form(sample), encoding="utf-8")
    with pytest.raises(SetupError, match="no row is rated"):
        read(file, sample)
    empty = a_row(
        sample,
        "item-002",
        **dict.fromkeys((*METRICS, "preferred"), ""),
    )
    assert [r.item_id for r in read(a_file(file, [a_row(sample), empty]), sample)] == [
        "item-001"
    ]


def test_the_file_may_name_the_rater(tmp_path: Path) -> None:
    sample = draw(tmp_path)
    file = a_file(tmp_path / "r.csv", [a_row(sample, rater="Zoë O'Hara-Lee Jr.")])
    assert read(file, sample, rater=None)[0].rater == "Zoë O'Hara-Lee Jr."


def test_an_error_names_file_row_column_and_valid_values(tmp_path: Path) -> None:
    sample = draw(tmp_path)
    rows = (
        a_row(sample),
        a_row(sample, side="right"),
        a_row(sample, "item-002", coherence="9"),
    )
    error = mistake(tmp_path, sample, *rows)
    assert (
        error
        == f"{tmp_path / 'r.csv'}: row 4, column 'coherence': '9' is not a score; "
        "valid: 1, 2, 3, 4, 5, or empty"
    )


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"relevance": "0"}, "column 'relevance': '0' is not a score"),
        ({"relevance": "four"}, "column 'relevance': 'four' is not a score"),
        ({"relevance": "4.5"}, "column 'relevance': '4.5' is not a score"),
        (
            {"preferred": "middle"},
            "column 'preferred': 'middle' is not valid; valid: left, right, tie, or empty",
        ),
        ({"side": "top"}, "column 'side': 'top' is not valid; valid: left, right"),
        (
            {"item_id": "item-999"},
            "column 'item_id': 'item-999' is not an item of this review; "
            "valid: item-001 to item-008",
        ),
        (
            {"review_id": "review-1"},
            "column 'review_id': 'review-1' is not a review that was made here; valid: review-",
        ),
        (
            {"rater": "Bob"},
            "column 'rater': 'Bob', but 'Ann' is expected; a file has one rater",
        ),
    ],
)
def test_every_cell_is_checked(
    tmp_path: Path, cells: dict[str, str], message: str
) -> None:
    sample = draw(tmp_path)
    assert f"row 2, {message}" in mistake(tmp_path, sample, a_row(sample, **cells))


def test_a_file_holds_ratings_of_one_review(tmp_path: Path) -> None:
    sample = draw(tmp_path)
    other = a_row(sample, "x", review_id="review-other")
    assert "'review-other', but the file begins with" in mistake(
        tmp_path, sample, a_row(sample), other
    )


def test_a_side_of_an_item_may_occur_only_once(tmp_path: Path) -> None:
    sample = draw(tmp_path)
    error = mistake(
        tmp_path,
        sample,
        a_row(sample),
        a_row(sample, side="right"),
        a_row(sample),
    )
    assert error.endswith("row 4, column 'item_id': item-001 left is already in row 2")


def test_both_rows_of_an_item_must_have_the_same_preference(tmp_path: Path) -> None:
    sample = draw(tmp_path)
    error = mistake(
        tmp_path,
        sample,
        a_row(sample),
        a_row(sample, side="right", preferred="tie"),
    )
    assert "column 'preferred': 'tie', but row 2 has 'left' for the same item" in error


@pytest.mark.parametrize(
    ("name", "message"), [(None, "add --rater NAME"), ("../x", "is not a valid rater")]
)
def test_the_rater_needs_a_valid_name(
    tmp_path: Path, name: str | None, message: str
) -> None:
    sample = draw(tmp_path)
    assert message in mistake(tmp_path, sample, a_row(sample), rater=name)


def test_the_error_for_a_missing_column_lists_the_columns(tmp_path: Path) -> None:
    sample = draw(tmp_path)
    row = a_row(sample)
    del row["side"]
    assert "no column 'side'. Found: review_id, item_id, rater" in mistake(
        tmp_path, sample, row
    )
