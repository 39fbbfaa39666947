from collections import Counter

import pytest
from pydantic import ValidationError

from aidsafe_dagster.recipe.fine_tune_splits import (
    ScoreGate,
    SplitSettings,
    assign_split,
    count_by_floor,
    dpo_row,
    find_low_scores,
    sft_row,
    splits_near,
)
from tests.builders import (
    a_cot_grades,
    a_grade,
    a_pair,
    a_prompt,
    a_refined_cot,
    a_score,
)

SHARES = SplitSettings(validation=0.1, test=0.2)


def test_splits_have_the_shares_of_the_settings() -> None:
    counts = Counter(assign_split(f"prompt-{n}", SHARES) for n in range(5000))
    assert counts["test"] / 5000 == pytest.approx(0.2, abs=0.02)
    assert counts["validation"] / 5000 == pytest.approx(0.1, abs=0.02)


def test_sft_and_dpo_rows_of_a_prompt_share_a_split() -> None:
    for n in range(50):
        sft = sft_row(a_refined_cot(prompt_id=f"p{n}"), "benign", SHARES)
        dpo = dpo_row(a_pair(prompt_id=f"p{n}"), SHARES)
        assert sft.split == dpo.split


def test_a_cluster_is_in_one_split_and_a_prompt_without_one_is_its_own_cluster() -> (
    None
):
    for n in range(50):
        split = assign_split(f"c{n}", SHARES)
        for m in range(5):
            clustered = a_refined_cot(prompt_id=f"p{n}{m}", cluster=f"c{n}")
            assert sft_row(clustered, "benign", SHARES).split == split
        single = a_refined_cot(prompt_id=f"p{n}")
        assert sft_row(single, "benign", SHARES).split == assign_split(f"p{n}", SHARES)


def test_the_splits_near_a_prompt_are_those_of_all_clusters_near_it() -> None:
    cluster_by_split = {assign_split(f"c{n}", SHARES): f"c{n}" for n in range(200)}
    train = [f"c{n}" for n in range(200) if assign_split(f"c{n}", SHARES) == "train"]
    within = a_prompt(cluster=train[0], near_clusters=(train[1],))
    assert splits_near(within, SHARES) == ("train",)
    bridging = a_prompt(
        cluster=cluster_by_split["test"],
        near_clusters=(train[0], cluster_by_split["validation"]),
    )
    assert splits_near(bridging, SHARES) == ("test", "train", "validation")


def test_an_sft_row_is_a_user_turn_and_an_assistant_turn_with_thinking() -> None:
    refined = a_refined_cot()
    row = sft_row(refined, "harmful", SHARES)
    assert row.messages is not None
    assert [m.role for m in row.messages] == ["user", "assistant"]
    assert (
        row.messages[1].content
        == f"<think>\n{row.thinking}\n</think>\n\n{refined.response}"
    )
    assert row.prompt is None
    assert row.chosen is None
    assert row.rejected is None
    assert row.prompt_kind == "harmful"


def test_a_row_needs_its_scores_on_two_metrics_by_default() -> None:
    gate = ScoreGate()
    assert find_low_scores(a_cot_grades(grades=(a_grade(4),)), gate) is None
    others = a_grade(
        1, policy_to_response=a_score(score=4), response_to_cot=a_score(score=4)
    )
    assert find_low_scores(a_cot_grades(grades=(others,)), gate) is None
    low = a_cot_grades(grades=(a_grade(5, response_to_cot=a_score(score=3)),))
    assert find_low_scores(low, gate) == "response_to_cot 3.00, 4 is due"
    assert find_low_scores(None, gate) == "no valid grade"
    unrefined = a_cot_grades(grades=(a_grade(version="deliberated"),))
    assert find_low_scores(unrefined, gate) == "no valid grade"


def test_the_mean_of_the_judges_counts_and_not_the_mildest() -> None:
    judges = (a_grade(5), a_grade(2, judge="second_judge"))
    low = find_low_scores(a_cot_grades(grades=judges), ScoreGate())
    assert low == "policy_to_response 3.50, 4 is due; response_to_cot 3.50, 4 is due"


def test_a_floor_of_one_is_none_and_asks_for_no_grade() -> None:
    off = ScoreGate(policy_to_response=1, response_to_cot=1)
    assert off.floors == {}
    assert find_low_scores(None, off) is None
    assert find_low_scores(a_cot_grades(grades=(a_grade(1),)), off) is None


def test_rows_are_counted_by_every_floor_that_they_miss() -> None:
    both = a_cot_grades(grades=(a_grade(2),))
    details = [
        f"sft: {find_low_scores(both, ScoreGate())}",
        f"dpo: {find_low_scores(both, ScoreGate(relevance=2.5))}",
        f"sft: {find_low_scores(None, ScoreGate())}",
    ]
    counts = count_by_floor(details)
    assert counts.rows == {"sft": 2, "dpo": 1}
    assert counts.missed["sft"] == {
        "policy_to_response": 1,
        "response_to_cot": 1,
        "no valid grade": 1,
    }
    assert counts.missed["dpo"]["relevance"] == 1
    assert counts.total("policy_to_response") == 2


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
    assert row.prompt_kind == pair.prompt_kind


@pytest.mark.parametrize("shares", [{"validation": 0.6, "test": 0.4}, {"test": -0.1}])
def test_shares_that_leave_no_train_split_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="shares of at least 0"):
        SplitSettings(**shares)
