"""The partition gate, run with the real Great Expectations: sound partitions pass, each fault
closes its own suite.
"""

from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest

from aidsafe_dagster.lake.tables import to_frame
from aidsafe_dagster.quality.expectations import ExpectationOutcome, SuiteResult
from aidsafe_dagster.quality.suites import check_refined_length, validate
from aidsafe_dagster.quality.tokens import ESTIMATE
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import (
    Failure,
    FailureReason,
    Record,
    RefinedCot,
    Stage,
)
from aidsafe_dagster.recipe.row_gate import CheckSettings
from aidsafe_dagster.recipe.stages import STAGES, check_row, stage_named
from tests.builders import (
    a_cot_grades,
    a_counterfactual,
    a_deliberated_cot,
    a_dpo_row,
    a_failure,
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

BUILD: dict[Stage, Any] = {
    Stage.PROMPTS: a_prompt,
    Stage.SINGLE_LLM_COTS: a_single_llm_cot,
    Stage.SEED_COTS: a_seed_cot,
    Stage.DELIBERATED_COTS: a_deliberated_cot,
    Stage.REFINED_COTS: a_refined_cot,
    Stage.COT_GRADES: a_cot_grades,
    Stage.PREFERENCE_PAIRS: a_pair,
    Stage.FINE_TUNE_SPLITS: an_sft_row,
    Stage.POLICY_COUNTERFACTUALS: a_counterfactual,
}
EVERY_SUITE = [(stage, suite) for stage in Stage for suite in stage_named(stage).suites]


def gate(
    stage: Stage,
    suite: str,
    rows: Sequence[Record] | pl.DataFrame,
    *,
    failures: Sequence[Failure] = (),
    given: int | None = None,
    **settings: Any,
) -> SuiteResult:
    """`given` is the number of rows of the stage above; without it, as many as came out."""
    frame = (
        rows if isinstance(rows, pl.DataFrame) else to_frame(rows, STAGES[stage].record)
    )
    owed = frame.height + len(failures) if given is None else given
    failed = to_frame(failures, Failure)
    results = validate(
        stage,
        [suite],
        frame,
        failures=failed,
        expected_rows=owed,
        policies=policies(),
        settings=CheckSettings(**settings),
        counter=ESTIMATE,
    )
    return results[suite]


def closed_by(result: SuiteResult) -> set[str]:
    """Names of the blocking expectations that failed."""
    assert result.passed == all(
        one.passed for one in result.expectations if one.blocking
    )
    return {one.name for one in result.expectations if not one.passed and one.blocking}


def outcome(result: SuiteResult, name: str) -> ExpectationOutcome:
    return next(one for one in result.expectations if one.name == name)


def some(stage: Stage, count: int = 3, **changes: Any) -> list[Record]:
    return [
        BUILD[stage](prompt_id=f"p{number}", **changes)
        for number in range(1, count + 1)
    ]


@pytest.mark.parametrize(("stage", "suite"), EVERY_SUITE)
def test_a_sound_partition_passes_and_an_empty_one_never_does(
    stage: Stage, suite: str
) -> None:
    assert closed_by(gate(stage, suite, some(stage))) == set()
    # No other stage rests on an optional one, which may have found nothing.
    expected = set() if stage_named(stage).is_optional else {"rows"}
    assert closed_by(gate(stage, suite, [])) == expected


def test_refinement_that_lengthens_a_batch_on_the_whole_is_noted() -> None:
    lengths = {"cot_tokens": 120, "deliberated_cot_tokens": 100}
    longer = some(Stage.REFINED_COTS, 2, **lengths)
    shorter = some(Stage.REFINED_COTS, 1, cot_tokens=40, deliberated_cot_tokens=100)
    frame = to_frame([*longer, *shorter], RefinedCot)
    result = check_refined_length(frame, CheckSettings())
    assert not result.passed
    assert outcome(result, "median refined_ratio").observed == pytest.approx(1.2)
    # Each row is below the bound of rows, so the gate stays open.
    assert "refined_ratio" not in closed_by(
        gate(Stage.REFINED_COTS, "token_length", [*longer, *shorter])
    )
    lenient = CheckSettings(max_median_refined_ratio=1.2)
    assert check_refined_length(frame, lenient).passed
    assert check_refined_length(frame.clear(), CheckSettings()).passed


def test_rows_that_nobody_was_to_be_asked_about_hide_no_failures() -> None:
    not_drawn = [
        a_failure(prompt_id=f"q{n}", stage="s", reason=FailureReason.NOT_DRAWN)
        for n in range(50)
    ]
    failed = [a_failure(prompt_id=f"r{n}", stage="s") for n in range(3)]
    stage = Stage.POLICY_COUNTERFACTUALS
    result = gate(stage, "integrity", some(stage, 3), failures=[*not_drawn, *failed])
    assert outcome(result, "failure_share").observed == pytest.approx(0.5)


def test_rows_behind_the_closed_gate_of_another_stage_close_no_gate() -> None:
    kept_out = [
        a_failure(prompt_id=f"q{n}", stage="s", reason=FailureReason.CLOSED_GATE)
        for n in range(50)
    ]
    rows = some(Stage.FINE_TUNE_SPLITS)
    result = gate(Stage.FINE_TUNE_SPLITS, "integrity", rows, failures=kept_out)
    assert closed_by(result) == set()
    assert outcome(result, "left_out_share").observed == 0


@pytest.mark.parametrize("stage", Stage)
def test_key_columns_must_not_be_null(stage: Stage) -> None:
    frame = to_frame(some(stage), STAGES[stage].record)
    for column in ("prompt_id", "batch", "source", "source_row", "licence"):
        second = pl.int_range(pl.len()) == 1
        holed = frame.with_columns(pl.when(~second).then(pl.col(column)).alias(column))
        assert f"{column} present" in closed_by(gate(stage, "integrity", holed))


@pytest.mark.parametrize(
    ("stage", "suite", "column", "closed"),
    [
        (Stage.PROMPTS, "integrity", "prompt", "blank_texts"),
        (Stage.PROMPTS, "token_length", "prompt", "prompt_tokens present"),
        (Stage.SEED_COTS, "integrity", "simulated", "simulated present"),
        (Stage.SEED_COTS, "integrity", "response", "blank_texts"),
        (Stage.SEED_COTS, "token_length", "cot_tokens", "cot_tokens present"),
        (Stage.DELIBERATED_COTS, "token_length", "response", "response_tokens present"),
        (
            Stage.DELIBERATED_COTS,
            "policy_coverage",
            "thoughts",
            "unknown_rules present",
        ),
        (Stage.REFINED_COTS, "token_length", "deliberated_cot_tokens", "refined_ratio"),
        (
            Stage.REFINED_COTS,
            "policy_coverage",
            "applicable_policies",
            "uncovered_policies present",
        ),
        (Stage.PREFERENCE_PAIRS, "integrity", "rejected_cot", "blank_texts"),
        (
            Stage.PREFERENCE_PAIRS,
            "token_length",
            "rejected_cot_tokens",
            "rejected_cot_tokens present",
        ),
        (Stage.FINE_TUNE_SPLITS, "token_length", "thinking", "thinking_tokens present"),
    ],
)
def test_a_column_of_nulls_closes_the_gate(
    stage: Stage, suite: str, column: str, closed: str
) -> None:
    frame = to_frame(some(stage), STAGES[stage].record)
    nulls = frame.with_columns(pl.lit(None, dtype=frame.schema[column]).alias(column))
    assert closed in closed_by(gate(stage, suite, nulls))
    assert closed not in closed_by(gate(stage, suite, frame))


def test_every_row_given_must_come_out_as_a_row_or_a_failure() -> None:
    rows, failed = some(Stage.SEED_COTS, 9), [a_failure(prompt_id="p10")]
    assert (
        closed_by(gate(Stage.SEED_COTS, "integrity", rows, failures=failed, given=10))
        == set()
    )
    lost = gate(Stage.SEED_COTS, "integrity", rows, failures=failed, given=12)
    assert closed_by(lost) == {"unaccounted"}
    assert outcome(lost, "unaccounted").observed == 2
    assert closed_by(
        gate(Stage.SEED_COTS, "integrity", rows, failures=failed, given=9)
    ) == {"unaccounted"}


def test_a_stage_that_owes_no_rows_is_not_asked_for_them() -> None:
    results = validate(
        "prompts",
        ["integrity"],
        to_frame(some(Stage.PROMPTS), STAGES[Stage.PROMPTS].record),
        failures=to_frame([], Failure),
        expected_rows=None,
        policies=policies(),
        settings=CheckSettings(),
        counter=ESTIMATE,
    )
    result = results["integrity"]
    assert closed_by(result) == set()
    assert "unaccounted" not in {one.name for one in result.expectations}


def test_more_failures_than_the_set_share_close_the_gate() -> None:
    failed = [a_failure(prompt_id=f"f{number}") for number in range(3)]
    assert (
        closed_by(
            gate(
                Stage.SEED_COTS,
                "integrity",
                some(Stage.SEED_COTS, 8),
                failures=failed[:2],
            )
        )
        == set()
    )
    over = gate(Stage.SEED_COTS, "integrity", some(Stage.SEED_COTS, 7), failures=failed)
    assert closed_by(over) == {"failure_share"}
    assert outcome(over, "failure_share").observed == pytest.approx(0.3)
    assert outcome(over, "failure_share").expected == "at most 0.2"
    lenient = gate(
        Stage.SEED_COTS,
        "integrity",
        some(Stage.SEED_COTS, 7),
        failures=failed,
        max_failure_share=0.3,
    )
    assert closed_by(lenient) == set()


def test_a_row_that_failed_and_was_kept_closes_the_gate() -> None:
    result = gate(
        Stage.SEED_COTS,
        "integrity",
        some(Stage.SEED_COTS, 5),
        failures=[a_failure(prompt_id="p2")],
    )
    assert closed_by(result) == {"failed_and_kept"}


def test_fewer_rows_than_set_close_the_gate() -> None:
    assert closed_by(
        gate(Stage.PROMPTS, "integrity", some(Stage.PROMPTS, 3), min_rows=4)
    ) == {"rows"}
    assert (
        closed_by(gate(Stage.PROMPTS, "integrity", some(Stage.PROMPTS, 4), min_rows=4))
        == set()
    )


def test_a_prompt_twice_closes_the_gate_and_is_named() -> None:
    result = gate(
        Stage.SEED_COTS,
        "integrity",
        [*some(Stage.SEED_COTS), a_seed_cot(prompt_id="p2")],
    )
    assert closed_by(result) == {"prompt_id unique"}
    assert outcome(result, "prompt_id unique").detail == ("p2",)


def test_real_and_rehearsed_rows_do_not_mix() -> None:
    mixed = [a_seed_cot(), a_seed_cot(prompt_id="p2", simulated=True)]
    assert closed_by(gate(Stage.SEED_COTS, "integrity", mixed)) == {"simulated_kinds"}
    assert (
        closed_by(
            gate(Stage.SEED_COTS, "integrity", some(Stage.SEED_COTS, simulated=True))
        )
        == set()
    )


@pytest.mark.parametrize(
    ("stage", "changes", "closed"),
    [
        (Stage.REFINED_COTS, {"response": "The refiner kept this."}, "agent_talk"),
        (
            Stage.REFINED_COTS,
            {"thoughts": (a_refined_thought(text=""),)},
            "blank_texts",
        ),
        (Stage.PREFERENCE_PAIRS, {"chosen_response": "Agent 2 said no."}, "agent_talk"),
        (Stage.PREFERENCE_PAIRS, {"belief": " "}, "blank_texts"),
        (
            Stage.PREFERENCE_PAIRS,
            {
                "rejected_cot": a_pair().chosen_cot,
                "rejected_response": a_pair().chosen_response,
            },
            "same_text",
        ),
        (Stage.FINE_TUNE_SPLITS, {"messages": None}, "turn_is_whole"),
        (Stage.FINE_TUNE_SPLITS, {"response": ""}, "blank_texts"),
    ],
)
def test_a_fault_of_the_text_closes_integrity(
    stage: Stage, changes: dict[str, Any], closed: str
) -> None:
    faulty = BUILD[stage](prompt_id="p9", **changes)
    result = gate(stage, "integrity", [*some(stage), faulty])
    assert closed in closed_by(result)
    assert outcome(result, closed).detail == ("p9",)


def test_a_prompt_is_in_one_split_with_its_sft_and_dpo_rows() -> None:
    together = [
        an_sft_row(split="train"),
        a_dpo_row(split="train"),
        an_sft_row(prompt_id="p2", split="test"),
    ]
    assert closed_by(gate(Stage.FINE_TUNE_SPLITS, "integrity", together)) == set()
    apart = [
        an_sft_row(split="train"),
        a_dpo_row(split="test"),
        an_sft_row(prompt_id="p2", split="test"),
    ]
    assert closed_by(gate(Stage.FINE_TUNE_SPLITS, "integrity", apart)) == {
        "splits_of_prompt"
    }
    twice = [an_sft_row(split="train"), an_sft_row(split="train")]
    assert closed_by(gate(Stage.FINE_TUNE_SPLITS, "integrity", twice)) == {
        "row_key unique"
    }


@pytest.mark.parametrize(
    ("stage", "changes", "closed"),
    [
        (Stage.SEED_COTS, {"cot_tokens": 19}, "cot_tokens"),
        (Stage.SEED_COTS, {"cot_tokens": 4097}, "cot_tokens"),
        (Stage.DELIBERATED_COTS, {"response": ""}, "response_tokens"),
        (Stage.REFINED_COTS, {"cot_tokens": 124}, "refined_ratio"),
        (
            Stage.REFINED_COTS,
            {"cot_tokens": 20, "deliberated_cot_tokens": 101},
            "refined_ratio",
        ),
        (Stage.PREFERENCE_PAIRS, {"chosen_cot_tokens": 19}, "chosen_cot_tokens"),
        (Stage.PREFERENCE_PAIRS, {"rejected_cot_tokens": 0}, "rejected_cot_tokens"),
        (Stage.FINE_TUNE_SPLITS, {"thinking": "Too short."}, "thinking_tokens"),
    ],
)
def test_a_cot_out_of_bounds_closes_token_length(
    stage: Stage, changes: dict[str, Any], closed: str
) -> None:
    result = gate(
        stage, "token_length", [*some(stage), BUILD[stage](prompt_id="p9", **changes)]
    )
    assert closed_by(result) == {closed}
    assert outcome(result, closed).detail == ("p9",)


def test_a_few_long_prompts_are_borne_and_many_are_not() -> None:
    long = [
        a_prompt(prompt_id=f"long{number}", prompt="word " * 4000)
        for number in range(2)
    ]
    assert (
        closed_by(gate(Stage.PROMPTS, "token_length", [*some(Stage.PROMPTS, 8), *long]))
        == set()
    )
    assert closed_by(
        gate(Stage.PROMPTS, "token_length", [*some(Stage.PROMPTS, 3), *long])
    ) == {"prompt_tokens"}


def test_a_rule_that_no_policy_has_closes_coverage() -> None:
    for stage, thought in (
        (Stage.SEED_COTS, a_thought),
        (Stage.REFINED_COTS, a_refined_thought),
    ):
        unknown = BUILD[stage](
            thoughts=(thought(rules=("helpfulness.1", "illegal.1", "illegal.9")),)
        )
        assert closed_by(gate(stage, "policy_coverage", [unknown])) == {"unknown_rules"}


def test_a_policy_without_citation_closes_coverage_after_refinement_alone() -> None:
    bare = {
        stage: BUILD[stage](applicable_policies=("fraud",))
        for stage in (Stage.SEED_COTS, Stage.REFINED_COTS)
    }
    refined = gate(Stage.REFINED_COTS, "policy_coverage", [bare[Stage.REFINED_COTS]])
    assert closed_by(refined) == {"uncovered_policies"}
    seed = gate(Stage.SEED_COTS, "policy_coverage", [bare[Stage.SEED_COTS]])
    assert (seed.passed, outcome(seed, "uncovered_policies").passed) == (True, False)


def test_where_coverage_is_not_required_it_is_shown_and_closes_nothing() -> None:
    rows = [a_refined_cot(applicable_policies=("fraud",))]
    result = gate(
        Stage.REFINED_COTS, "policy_coverage", rows, require_policy_coverage=False
    )
    shown = outcome(result, "uncovered_policies")
    assert (result.passed, shown.passed, shown.blocking, shown.detail) == (
        True,
        False,
        False,
        ("p1",),
    )


def test_what_was_observed_is_said_in_plain_words() -> None:
    faulty = [
        a_seed_cot(prompt_id=f"short{number}", cot_tokens=number) for number in range(9)
    ]
    result = gate(Stage.SEED_COTS, "token_length", [*some(Stage.SEED_COTS), *faulty])
    said = outcome(result, "cot_tokens")
    assert said.expected == "20 to 4096"
    assert said.observed == "9 of 12 rows with 0, 1, 2, 3, 4"
    assert said.detail == ("short0", "short1", "short2", "short3", "short4")
    assert outcome(result, "rows") == ExpectationOutcome(
        "rows", passed=True, observed=12, expected="at least 1"
    )


def test_rows_that_pass_the_row_gate_pass_every_suite_of_their_stage() -> None:
    edge = {
        Stage.SEED_COTS: {"cot_tokens": 20},
        Stage.DELIBERATED_COTS: {"cot_tokens": 4096},
        Stage.REFINED_COTS: {"cot_tokens": 21, "deliberated_cot_tokens": 105},
        Stage.PREFERENCE_PAIRS: {"rejected_cot_tokens": 4096},
    }
    for stage, changes in edge.items():
        row = BUILD[stage](**changes)
        assert check_row(row, CheckSettings(), policies()) is None
        assert all(
            gate(stage, suite, [row]).passed for suite in stage_named(stage).suites
        )


def test_names_that_do_not_exist_are_corrected() -> None:
    assert stage_named("prompts").suites == ("integrity", "token_length")
    assert stage_named("refined_cots").suites == (
        "integrity",
        "token_length",
        "policy_coverage",
    )
    with pytest.raises(SetupError, match="Did you mean 'refined_cots'"):
        stage_named("refined_cot")
    with pytest.raises(
        SetupError, match=r"unknown suite 'policy_coverage'.*integrity, token_length"
    ):
        gate(Stage.PROMPTS, "policy_coverage", some(Stage.PROMPTS))


def test_a_row_without_a_grade_of_its_refined_cot_closes_the_gate() -> None:
    ungraded = a_cot_grades(prompt_id="p2", grades=(a_grade(version="deliberated"),))
    assert closed_by(gate(Stage.COT_GRADES, "grades", [a_cot_grades()])) == set()
    assert "refined_grades" in str(
        closed_by(gate(Stage.COT_GRADES, "grades", [a_cot_grades(), ungraded]))
    )


def test_a_score_off_the_scale_closes_the_gate() -> None:
    off = a_cot_grades(prompt_id="p2", grades=(a_grade(6),))
    assert "relevance_highest" in str(
        closed_by(gate(Stage.COT_GRADES, "grades", [a_cot_grades(), off]))
    )


def test_sound_rows_that_are_left_out_are_not_failures() -> None:
    left_out = [
        a_failure(prompt_id=f"p{n}", reason=FailureReason.MARGIN_TOO_SMALL)
        for n in range(2, 9)
    ]
    assert (
        closed_by(
            gate(Stage.PREFERENCE_PAIRS, "integrity", [a_pair()], failures=left_out)
        )
        == set()
    )
    tight = gate(
        Stage.PREFERENCE_PAIRS,
        "integrity",
        [a_pair()],
        failures=left_out,
        max_left_out_share=0.8,
    )
    assert closed_by(tight) == {"left_out_share"}
