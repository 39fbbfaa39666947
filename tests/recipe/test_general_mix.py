from collections import Counter

import pytest

from aidsafe_dagster.recipe.fine_tune_splits import SplitSettings, assign_split
from aidsafe_dagster.recipe.general_mix import MixRow, select_general
from aidsafe_dagster.recipe.records import PromptKind

SHARES = SplitSettings(validation=0.1, test=0.2)


def rows(kind: PromptKind, numbers: range) -> list[MixRow]:
    ids = [f"{kind}-{n}" for n in numbers]
    return [MixRow(prompt_id, kind, assign_split(prompt_id, SHARES)) for prompt_id in ids]


def by_split(chosen: set[str], of: list[MixRow]) -> Counter[str]:
    return Counter(row.split for row in of if row.prompt_id in chosen)


SAFETY = rows("harmful", range(150)) + rows("borderline", range(150))
GENERAL = rows("benign", range(900))


@pytest.mark.parametrize("ratio", [0.0, 0.29, 0.5, 1.0, 2.0])
def test_every_split_has_the_ratio_and_all_its_safety_rows(ratio: float) -> None:
    chosen = select_general([*SAFETY, *GENERAL], ratio)
    assert {row.prompt_id for row in SAFETY} <= chosen
    safety, general = by_split(chosen, SAFETY), by_split(chosen, GENERAL)
    for split in ("train", "validation", "test"):
        assert ratio * safety[split] - 1 < general[split] <= ratio * safety[split] + 1e-6


def test_a_ratio_that_is_a_whole_number_of_rows_is_met_exactly() -> None:
    safety = [MixRow(f"s{n}", "harmful", "train") for n in range(100)]
    general = [MixRow(f"g{n}", "benign", "train") for n in range(100)]
    assert len(select_general([*safety, *general], 0.29)) == 129


def test_without_a_ratio_and_without_enough_general_rows_all_stay() -> None:
    everything = {row.prompt_id for row in (*SAFETY, *GENERAL)}
    assert select_general([*SAFETY, *GENERAL], None) == everything
    assert select_general([*SAFETY, *GENERAL], 10) == everything


def test_the_order_of_the_rows_makes_no_difference() -> None:
    assert select_general([*GENERAL, *SAFETY], 1) == select_general(
        [*SAFETY[::-1], *GENERAL[::-1]], 1
    )


def test_more_safety_rows_only_add_general_ones() -> None:
    before = select_general([*SAFETY, *GENERAL], 1)
    after = select_general([*SAFETY, *rows("harmful", range(150, 200)), *GENERAL], 1)
    assert before < after


def test_a_batch_of_general_rows_replaces_no_more_of_them_than_it_brings_in() -> None:
    before = select_general([*SAFETY, *GENERAL], 1)
    new = rows("benign", range(900, 1000))
    after = select_general([*SAFETY, *GENERAL, *new], 1)
    brought_in = after & {row.prompt_id for row in new}
    assert len(before - after) == len(brought_in) > 0
    assert len(after) == len(before)


def test_the_pair_of_a_prompt_is_not_counted_twice() -> None:
    assert select_general([*SAFETY, *SAFETY, *GENERAL], 1) == select_general([*SAFETY, *GENERAL], 1)
