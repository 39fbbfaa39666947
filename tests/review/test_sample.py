from collections import Counter
from pathlib import Path

import pytest

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.review.sample import PAIRS, draw_sample, parse_pair
from tests.review.builders import a_lake, a_sample, put_version, texts_of


def test_the_seed_decides_the_sample(
    tmp_path: Path,
) -> None:
    lake = a_lake(tmp_path)
    assert a_sample(lake, seed=1) == a_sample(lake, seed=1)
    assert a_sample(lake, seed=1).key != a_sample(lake, seed=2).key
    assert a_sample(lake, seed=1).review_id != a_sample(lake, seed=2).review_id


def test_a_prompt_is_in_one_item_and_the_pairs_share_evenly(tmp_path: Path) -> None:
    key = a_sample(a_lake(tmp_path), size=12).key
    assert len({row.prompt_id for row in key}) == 12
    assert Counter(frozenset((row.left, row.right)) for row in key) == {
        frozenset(pair): 6 for pair in PAIRS
    }
    assert {row.batch for row in key} == {"mine-0001", "mine-0002"}


def test_each_side_shows_the_version_in_the_key_and_both_orders_occur(
    tmp_path: Path,
) -> None:
    sample = a_sample(a_lake(tmp_path), size=12)
    for item, row in zip(sample.items, sample.key, strict=True):
        assert item.item_id == row.item_id
        assert item.prompt == f"What about {row.prompt_id}?"
        assert texts_of(item) == (
            f"Response of {row.left} on {row.prompt_id}.",
            f"Response of {row.right} on {row.prompt_id}.",
        )
    assert {row.left == "refined" for row in sample.key} == {True, False}


def test_prompts_that_lack_one_of_the_versions_are_not_drawn(tmp_path: Path) -> None:
    lake = a_lake(tmp_path, {"mine-0001": ["a", "b", "c"]})
    put_version(lake, "single_llm", "mine-0001", ["b"])
    put_version(lake, "deliberated", "mine-0001", [])
    (row,) = a_sample(lake, size=3).key
    assert row.prompt_id == "b"


def test_a_pair_without_prompts_leaves_the_rest_to_the_other(tmp_path: Path) -> None:
    lake = a_lake(tmp_path, {"mine-0001": ["a", "b", "c", "d"]})
    put_version(lake, "single_llm", "mine-0001", ["b"])
    drawn = Counter(
        "single_llm" in (row.left, row.right) for row in a_sample(lake, size=4).key
    )
    assert drawn[False] >= 3


def test_a_lake_without_both_versions_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        SetupError,
        match=r"no prompt has both a refined and single_llm .*make a batch first",
    ):
        draw_sample(
            Lake(tmp_path),
            5,
            [("refined", "single_llm")],
            0,
        )


def test_a_pair_names_two_known_versions() -> None:
    assert parse_pair("refined, single_llm") == ("refined", "single_llm")
    with pytest.raises(
        SetupError, match=r"unknown version 'refind'\. Did you mean 'refined'\?"
    ):
        parse_pair("refind,single_llm")
    with pytest.raises(SetupError, match="two different versions"):
        parse_pair("refined,refined")
