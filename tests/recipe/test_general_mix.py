from collections import Counter

import pytest

from aidsafe_dagster.recipe.fine_tune_splits import SplitSettings, assign_split
from aidsafe_dagster.recipe.general_mix import MixRow, select_general
from aidsafe_dagster.recipe.records import PromptKind

SHARES = SplitSettings(validation=0.1, test=0.2)


def rows(kind: PromptKind, numbers: range) -> list[MixRow]:
    ids = [f"{kind}-{n}" for n in numbers]
    return [
        MixRow(prompt_id, kind, assign_split(prompt_id, SHARES)) for prompt_id in ids
    ]


def count_by_split(selected: set[str], rows: list[MixRow]) -> Counter[str]:
    return Counter(row.split for row in rows if row.prompt_id in selected)


SAFETY = rows("harmful", range(150)) + rows("borderline", range(150))
GENERAL = rows("benign", range(900))


@pytest.mark.parametrize("ratio", [0.0, 0.29, 0.5, 1.0, 2.0])
def test_every_split_keeps_the_ratio_and_all_safety_rows(ratio: float) -> None:
    selected = select_general([*SAFETY, *GENERAL], ratio)
    assert {row.prompt_id for row in SAFETY} <= selected
    safety, general = (
        count_by_split(selected, SAFETY),
        count_by_split(selected, GENERAL),
    )
    for split in ("train", "validation", "test"):
        assert (
            ratio * safety[split] - 1 < general[split] <= ratio * safety[split] + 1e-6
        )


def test_rounding_errors_cost_no_row() -> None:
    safety = [MixRow(f"s{n}", "harmful", "train") for n in range(100)]
    general = [MixRow(f"g{n}", "benign", "train") for n in range(100)]
    assert len(select_general([*safety, *general], 0.29)) == 129


def test_all_rows_stay_without_a_ratio_or_with_too_few_general_rows() -> None:
    everything = {row.prompt_id for row in (*SAFETY, *GENERAL)}
    assert select_general([*SAFETY, *GENERAL], None) == everything
    assert select_general([*SAFETY, *GENERAL], 10) == everything


def test_the_order_of_the_rows_does_not_matter() -> None:
    assert select_general([*GENERAL, *SAFETY], 1) == select_general(
        [*SAFETY[::-1], *GENERAL[::-1]], 1
    )


def test_more_safety_rows_only_add_general_ones() -> None:
    before = select_general([*SAFETY, *GENERAL], 1)
    after = select_general([*SAFETY, *rows("harmful", range(150, 200)), *GENERAL], 1)
    assert before < after


def test_a_batch_of_general_rows_replaces_at_most_as_many_as_it_adds() -> None:
    before = select_general([*SAFETY, *GENERAL], 1)
    new = rows("benign", range(900, 1000))
    after = select_general([*SAFETY, *GENERAL, *new], 1)
    added = after & {row.prompt_id for row in new}
    assert len(before - after) == len(added) > 0
    assert len(after) == len(before)


def test_a_row_that_occurs_twice_counts_once() -> None:
    assert select_general([*SAFETY, *SAFETY, *GENERAL], 1) == select_general(
        [*SAFETY, *GENERAL], 1
    )
