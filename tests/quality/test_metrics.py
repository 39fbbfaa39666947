"""Metrics hold what the suites need to know of each row. A missing text is null, never zero."""

from typing import Any

import polars as pl
import pytest

from aidsafe_dagster.lake.tables import to_frame
from aidsafe_dagster.quality.metrics import measure_rows
from aidsafe_dagster.quality.tokens import ESTIMATE, TokenCounter
from aidsafe_dagster.recipe.records import Failure, Record, SeedCot, Stage
from aidsafe_dagster.recipe.stages import STAGES
from tests.builders import (
    a_cot_grades,
    a_counterfactual,
    a_deliberated_cot,
    a_dpo_row,
    a_grade,
    a_pair,
    a_prompt,
    a_refined_cot,
    a_refined_thought,
    a_seed_cot,
    a_single_llm_cot,
    a_thought,
    an_sft_row,
    policies,
)

WORDS = TokenCounter("words", exact=True, count=lambda text: len(text.split()))


def measured(
    stage: Stage, *rows: Record, counter: TokenCounter = ESTIMATE
) -> pl.DataFrame:
    record = STAGES[stage].record
    return measure_rows(record, to_frame(rows, record), policies(), counter)


def values(stage: Stage, row: Record, *columns: str) -> tuple[Any, ...]:
    return measured(stage, row, counter=WORDS).select(columns).row(0)


@pytest.mark.parametrize("stage", Stage)
def test_no_rows_give_the_same_columns_as_some(stage: Stage) -> None:
    build = {
        Stage.PROMPTS: a_prompt,
        Stage.SINGLE_LLM_COTS: a_single_llm_cot,
        Stage.SEED_COTS: a_seed_cot,
        Stage.DELIBERATED_COTS: a_deliberated_cot,
        Stage.REFINED_COTS: a_refined_cot,
        Stage.COT_GRADES: a_cot_grades,
        Stage.PREFERENCE_PAIRS: a_pair,
        Stage.FINE_TUNE_SPLITS: an_sft_row,
        Stage.POLICY_COUNTERFACTUALS: a_counterfactual,
    }[stage]
    some, none = (
        measured(stage, build(prompt_id="p2"), build(prompt_id="p1")),
        measured(stage),
    )
    assert some["prompt_id"].to_list() == ["p2", "p1"]
    assert none.height == 0
    assert none.schema == some.schema


def test_the_given_counter_counts() -> None:
    row = a_prompt(prompt="one two three")
    assert values(Stage.PROMPTS, row, "prompt_tokens") == (3,)
    assert measured(Stage.PROMPTS, row)["prompt_tokens"].to_list() == [4]


def test_rules_cited_and_unknown_are_counted_once_each() -> None:
    thoughts = (
        a_thought(rules=("illegal.1", "illegal.9")),
        a_thought(rules=("illegal.1", "illegal.9", "nosuch.1")),
    )
    columns = ("cited_rules", "unknown_rules", "unknown")
    assert values(Stage.SEED_COTS, a_seed_cot(thoughts=thoughts), *columns) == (
        3,
        2,
        "illegal.9, nosuch.1",
    )
    assert values(
        Stage.SEED_COTS, a_seed_cot(thoughts=(a_thought(rules=()),)), *columns
    ) == (
        0,
        0,
        "",
    )


def test_policies_that_a_row_owes_and_does_not_cite_are_named() -> None:
    row = a_refined_cot(
        applicable_policies=("illegal", "fraud", "helpfulness"),
        thoughts=(a_refined_thought(),),
    )
    columns = ("applicable", "uncovered_policies", "uncovered")
    assert values(Stage.REFINED_COTS, row, *columns) == (3, 1, "fraud")
    assert values(
        Stage.REFINED_COTS, a_refined_cot(applicable_policies=()), *columns
    ) == (0, 0, "")
    unknown = a_refined_cot(
        applicable_policies=("fraud",),
        thoughts=(a_refined_thought(rules=("fraud.9",)),),
    )
    assert values(Stage.REFINED_COTS, unknown, *columns) == (1, 1, "fraud")


def test_each_row_keeps_its_own_citations() -> None:
    rows = [
        a_seed_cot(
            prompt_id="p1",
            thoughts=(a_thought(rules=("illegal.1",)),),
            applicable_policies=("illegal",),
        ),
        a_seed_cot(
            prompt_id="p2",
            thoughts=(a_thought(rules=()),),
            applicable_policies=("illegal",),
        ),
        a_seed_cot(
            prompt_id="p3",
            thoughts=(a_thought(rules=("fraud.1",)),),
            applicable_policies=("fraud",),
        ),
    ]
    table = measured(Stage.SEED_COTS, *rows)
    assert table.select("prompt_id", "cited_rules", "uncovered").rows() == [
        ("p1", 1, ""),
        ("p2", 0, "illegal"),
        ("p3", 1, ""),
    ]


def test_blank_texts_are_counted() -> None:
    blank = a_seed_cot(
        response=" ", thoughts=(a_thought(), a_thought(number=2, text="\n"))
    )
    assert values(Stage.SEED_COTS, a_seed_cot(), "blank_texts") == (0,)
    assert values(Stage.SEED_COTS, blank, "blank_texts") == (2,)
    assert values(Stage.SEED_COTS, a_seed_cot(thoughts=()), "blank_texts") == (1,)


def test_a_missing_text_is_a_null_and_not_a_zero() -> None:
    frame = to_frame([a_seed_cot()], SeedCot)
    emptied = frame.with_columns(
        pl.lit(None, dtype=frame.schema[name]).alias(name)
        for name in ("response", "thoughts")
    )
    table = measure_rows(SeedCot, emptied, policies(), ESTIMATE)
    counts = table.select(
        "response_tokens", "thoughts", "cited_rules", "unknown_rules", "blank_texts"
    ).row(0)
    assert counts == (None, None, None, None, 2)


def test_refinement_is_measured_against_what_went_in() -> None:
    row = a_refined_cot(
        cot_tokens=30, deliberated_cot_tokens=120, rests_on_dropped=True
    )
    assert values(Stage.REFINED_COTS, row, "refined_ratio", "rests_on_dropped") == (
        0.25,
        True,
    )
    assert values(
        Stage.REFINED_COTS,
        a_refined_cot(deliberated_cot_tokens=0, cot_tokens=7),
        "refined_ratio",
    ) == (7.0,)


def test_agent_talk_is_quoted_unless_the_prompt_says_it() -> None:
    unprompted = a_refined_cot(response="The refiner kept this.")
    assert values(Stage.REFINED_COTS, unprompted, "agent_talk") == ("The refiner",)
    prompted = a_refined_cot(
        response="The refiner kept this.", prompt="Who is the refiner?"
    )
    assert values(Stage.REFINED_COTS, prompted, "agent_talk") == ("",)


def test_a_pair_of_the_same_text_is_flagged() -> None:
    pair = a_pair()
    same = a_pair(rejected_cot=pair.chosen_cot, rejected_response=pair.chosen_response)
    assert values(Stage.PREFERENCE_PAIRS, pair, "same_text") == (False,)
    assert values(Stage.PREFERENCE_PAIRS, same, "same_text") == (True,)


def test_training_rows_are_compared_with_their_turns() -> None:
    assert values(
        Stage.FINE_TUNE_SPLITS, an_sft_row(), "turn_is_whole", "same_text"
    ) == (
        True,
        False,
    )
    assert values(
        Stage.FINE_TUNE_SPLITS, a_dpo_row(), "turn_is_whole", "same_text"
    ) == (
        True,
        False,
    )
    assert values(
        Stage.FINE_TUNE_SPLITS, an_sft_row(thinking="Other."), "turn_is_whole"
    ) == (False,)
    assert values(
        Stage.FINE_TUNE_SPLITS, an_sft_row(messages=None), "turn_is_whole"
    ) == (False,)
    assert values(
        Stage.FINE_TUNE_SPLITS, a_dpo_row(rejected=a_dpo_row().chosen), "same_text"
    ) == (True,)


def test_a_prompt_in_two_splits_is_seen_on_all_its_rows() -> None:
    rows = [
        an_sft_row(split="train"),
        a_dpo_row(split="test"),
        an_sft_row(prompt_id="p2", split="train"),
    ]
    table = measured(Stage.FINE_TUNE_SPLITS, *rows)
    assert table.select("row_key", "splits_of_prompt").rows() == [
        ("p1/sft", 2),
        ("p1/dpo", 2),
        ("p2/sft", 1),
    ]


def test_a_record_that_is_no_row_of_a_table_is_refused() -> None:
    with pytest.raises(TypeError, match="Failure is not a row of a table"):
        measure_rows(Failure, to_frame([], SeedCot), policies(), ESTIMATE)


def test_grades_are_measured_by_their_extremes_and_those_of_the_refined_cot_are_counted() -> (
    None
):
    row = a_cot_grades(
        grades=(
            a_grade(4),
            a_grade(2, version="single_llm"),
            a_grade(5, judge="second_judge"),
        )
    )
    columns = ("refined_grades", "relevance_lowest", "relevance_highest")
    assert values(Stage.COT_GRADES, row, *columns) == (2, 2, 5)
