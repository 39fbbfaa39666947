from collections import Counter

import pytest
from pydantic import ValidationError

from aidsafe_dagster.recipe.fine_tune_splits import SplitSettings, dpo_row, sft_row, split_of
from tests.builders import a_pair, a_refined_cot

SHARES = SplitSettings(validation=0.1, test=0.2)


def test_the_shares_come_out_as_set() -> None:
    counts = Counter(split_of(f"prompt-{n}", SHARES) for n in range(5000))
    assert counts["test"] / 5000 == pytest.approx(0.2, abs=0.02)
    assert counts["validation"] / 5000 == pytest.approx(0.1, abs=0.02)


def test_sft_and_dpo_rows_of_a_prompt_are_in_the_same_split() -> None:
    for n in range(50):
        sft = sft_row(a_refined_cot(prompt_id=f"p{n}"), SHARES)
        dpo = dpo_row(a_pair(prompt_id=f"p{n}"), SHARES)
        assert sft.split == dpo.split


def test_an_sft_row_is_a_user_turn_and_an_assistant_turn_that_thinks_first() -> None:
    refined = a_refined_cot()
    row = sft_row(refined, SHARES)
    assert row.messages is not None
    assert [m.role for m in row.messages] == ["user", "assistant"]
    assert row.messages[1].content == f"<think>\n{row.thinking}\n</think>\n\n{refined.response}"
    assert (row.prompt, row.chosen, row.rejected) == (None, None, None)


def test_a_dpo_row_has_prompt_chosen_and_rejected_as_messages() -> None:
    pair = a_pair()
    row = dpo_row(pair, SHARES)
    assert row.prompt
    assert row.chosen
    assert row.rejected
    assert row.prompt[0].content == pair.prompt
    assert pair.chosen_response in row.chosen[0].content
    assert pair.rejected_response in row.rejected[0].content
    assert row.messages is None


@pytest.mark.parametrize("shares", [{"validation": 0.6, "test": 0.4}, {"test": -0.1}])
def test_shares_that_leave_no_train_split_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="shares of at least 0"):
        SplitSettings(**shares)
