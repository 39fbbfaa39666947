from pathlib import Path

import pytest

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import METRICS
from aidsafe_dagster.review.archive import Archive
from aidsafe_dagster.review.ratings import Rating, SideScores
from tests.review.builders import a_lake, a_sample


def a_rating(rater: str = "Ann", item: str = "item-001", score: int = 4) -> Rating:
    side = SideScores(**dict.fromkeys(METRICS, score))
    return Rating(
        review_id="review-1",
        item_id=item,
        rater=rater,
        left=side,
        right=side,
        preferred=None,
        comment="",
    )


def test_the_key_of_a_review_is_stored(tmp_path: Path) -> None:
    sample, archive = a_sample(a_lake(tmp_path)), Archive(tmp_path)
    assert archive.reviews() == []
    archive.store_key(sample)
    assert archive.reviews() == [sample.review_id]
    assert archive.key(sample.review_id) == list(sample.key)


def test_the_error_for_an_unknown_review_lists_the_valid_ones(tmp_path: Path) -> None:
    sample, archive = a_sample(a_lake(tmp_path)), Archive(tmp_path)
    archive.store_key(sample)
    with pytest.raises(
        SetupError, match=f"unknown review '../../etc'.*Valid: {sample.review_id}"
    ):
        archive.key("../../etc")


def test_storing_the_same_ratings_twice_changes_nothing(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    assert archive.add_ratings("review-1", [a_rating()])
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.parquet")}
    assert not archive.add_ratings("review-1", [a_rating()])
    assert {file: file.read_bytes() for file in tmp_path.rglob("*.parquet")} == before
    assert len(before) == 1


def test_a_later_rating_wins_and_both_files_are_kept(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    for ratings in (
        [a_rating(), a_rating(item="item-002")],
        [a_rating(score=1)],
        [a_rating("Bob", score=5)],
    ):
        archive.add_ratings("review-1", ratings)
    scores = {
        (rating.rater, rating.item_id): rating.left.relevance
        for rating in archive.ratings("review-1")
    }
    assert scores == {
        ("Ann", "item-001"): 1,
        ("Ann", "item-002"): 4,
        ("Bob", "item-001"): 5,
    }
    assert len(list(tmp_path.rglob("*.parquet"))) == 3


def test_the_error_for_a_damaged_file_names_it(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    archive.add_ratings("review-1", [a_rating()])
    (file,) = tmp_path.rglob("*.parquet")
    file.write_bytes(b"PAR1")
    with pytest.raises(SetupError, match=str(file)):
        archive.ratings("review-1")
