"""The row gate: a sound row passes, and each fault stops a row with its own reason."""

from typing import Any

import pytest
from pydantic import ValidationError

from aidsafe_dagster.recipe.records import FailureReason, Record
from aidsafe_dagster.recipe.row_gate import CheckSettings, uncovered
from aidsafe_dagster.recipe.stages import check_row
from tests import builders
from tests.builders import (
    FIRST,
    a_deliberated_cot,
    a_pair,
    a_prompt,
    a_refined_cot,
    a_refined_thought,
    a_seed_cot,
    a_single_llm_cot,
    a_thought,
    an_sft_row,
)

Reason = FailureReason


def reason_for(row: Record, **settings: Any) -> FailureReason | None:
    verdict = check_row(row, CheckSettings(**settings), builders.policies())
    return verdict and verdict[0]


SOUND = [
    a_prompt(),
    a_seed_cot(),
    a_deliberated_cot(),
    a_refined_cot(),
    a_pair(),
    an_sft_row(),
]


@pytest.mark.parametrize("row", SOUND, ids=lambda row: type(row).__name__)
def test_a_sound_row_passes(row: Record) -> None:
    assert check_row(row, CheckSettings(), builders.policies()) is None


@pytest.mark.parametrize("build", [a_seed_cot, a_deliberated_cot])
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"response": " \n"}, Reason.NULL_TEXT),
        ({"thoughts": (a_thought(), a_thought(number=2, text=" "))}, Reason.NULL_TEXT),
        ({"thoughts": ()}, Reason.NULL_TEXT),
        ({"cot_tokens": 19}, Reason.COT_TOO_SHORT),
        ({"cot_tokens": 20}, None),
        ({"cot_tokens": 4096}, None),
        ({"cot_tokens": 4097}, Reason.COT_TOO_LONG),
        ({"thoughts": (a_thought(rules=("illegal.9",)),)}, Reason.UNKNOWN_RULE),
        ({"thoughts": (a_thought(rules=()),)}, None),
    ],
)
def test_a_fault_in_thoughts_or_response_stops_a_row(
    build: Any, changes: Any, reason: FailureReason | None
) -> None:
    assert reason_for(build(**changes)) is reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"response": ""}, Reason.NULL_TEXT),
        ({"cot_tokens": 19}, Reason.COT_TOO_SHORT),
        (
            {
                "thoughts": (
                    a_refined_thought(
                        rules=("helpfulness.1", "illegal.1", "illegal.9")
                    ),
                )
            },
            Reason.UNKNOWN_RULE,
        ),
        ({"cot_tokens": 150, "deliberated_cot_tokens": 100}, None),
        ({"cot_tokens": 151, "deliberated_cot_tokens": 100}, Reason.REFINED_LONGER),
        ({"cot_tokens": 20, "deliberated_cot_tokens": 100}, None),
        ({"cot_tokens": 20, "deliberated_cot_tokens": 101}, Reason.OVER_FILTERED),
        ({"cot_tokens": 20, "deliberated_cot_tokens": 0}, Reason.REFINED_LONGER),
        (
            {"thoughts": (a_refined_thought(rules=("helpfulness.2",)),)},
            Reason.POLICY_NOT_COVERED,
        ),
        ({"applicable_policies": ("fraud",)}, Reason.POLICY_NOT_COVERED),
        (
            {"thoughts": (a_refined_thought(text=f"{FIRST} Agent 2 said so."),)},
            Reason.AGENT_TALK,
        ),
        (
            {"response": "As thought 3 says, practise on your own lock."},
            Reason.AGENT_TALK,
        ),
        ({"response": "As thought 3 says, yes.", "prompt": "What of thought 3?"}, None),
    ],
)
def test_a_fault_of_the_refinement_stops_a_row(
    changes: Any, reason: FailureReason | None
) -> None:
    assert reason_for(a_refined_cot(**changes)) is reason


def test_agent_talk_and_missing_policies_are_allowed_before_refinement() -> None:
    row = a_deliberated_cot(thoughts=(a_thought(text=f"{FIRST} Agent 2 said so."),))
    assert uncovered(row, builders.policies()) == ("helpfulness",)
    assert reason_for(row) is None


def test_coverage_fails_no_row_unless_required() -> None:
    row = a_refined_cot(applicable_policies=("fraud",))
    assert reason_for(row) is Reason.POLICY_NOT_COVERED
    assert reason_for(row, require_policy_coverage=False) is None


def test_an_unknown_rule_covers_no_policy() -> None:
    row = a_refined_cot(
        applicable_policies=("fraud",),
        thoughts=(a_refined_thought(rules=("fraud.9",)),),
    )
    assert uncovered(row, builders.policies()) == ("fraud",)


def test_bounds_follow_the_settings() -> None:
    row = a_refined_cot(cot_tokens=60, deliberated_cot_tokens=100)
    assert reason_for(row, min_cot_tokens=61) is Reason.COT_TOO_SHORT
    assert reason_for(row, max_cot_tokens=59) is Reason.COT_TOO_LONG
    assert reason_for(row, max_refined_ratio=0.5) is Reason.REFINED_LONGER
    assert reason_for(row, min_refined_share=0.7) is Reason.OVER_FILTERED


@pytest.mark.parametrize(
    "side",
    ["belief", "chosen_cot", "chosen_response", "rejected_cot", "rejected_response"],
)
def test_a_pair_with_a_blank_text_is_stopped(side: str) -> None:
    assert reason_for(a_pair(**{side: "  "})) is Reason.NULL_TEXT


def test_a_pair_without_contrast_is_stopped() -> None:
    same = a_pair(
        rejected_cot=a_pair().chosen_cot, rejected_response=a_pair().chosen_response
    )
    assert reason_for(same) is Reason.NO_CONTRAST
    assert reason_for(a_pair(rejected_cot=a_pair().chosen_cot)) is None


def test_a_pair_with_an_endless_rejected_cot_is_stopped() -> None:
    assert reason_for(a_pair(rejected_cot_tokens=4097)) is Reason.COT_TOO_LONG


LOOP = "It turns and it turns, " * 12
SAME = "I say how a lock works, since it is no secret to anybody who owns one."


@pytest.mark.parametrize("build", [a_seed_cot, a_deliberated_cot, a_single_llm_cot])
@pytest.mark.parametrize(
    "changes",
    [
        {"response": "..."},
        {"response": "Sure!"},
        {"response": LOOP},
        {"thoughts": (a_thought(text="<rule id>"),), "cot_tokens": 20},
        {"thoughts": (a_thought(text=LOOP),)},
        {"thoughts": tuple(a_thought(number=n, text=SAME) for n in range(1, 4))},
    ],
)
def test_worthless_text_stops_a_row(build: Any, changes: Any) -> None:
    assert reason_for(build(**changes)) is Reason.BAD_TEXT


def test_agents_may_repeat_thoughts_that_the_refiner_drops() -> None:
    repeated = (a_thought(text=SAME), a_thought(number=2, text=SAME))
    assert reason_for(a_deliberated_cot(thoughts=repeated)) is None
    assert reason_for(a_seed_cot(thoughts=repeated)) is Reason.BAD_TEXT
    final = (a_refined_thought(text=SAME), a_refined_thought(number=2, text=SAME))
    assert reason_for(a_refined_cot(thoughts=final)) is Reason.BAD_TEXT
    lenient = {"max_repeated_thoughts": 0.5}
    assert reason_for(a_refined_cot(thoughts=final), **lenient) is None


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"response": "As illegal.1 says, use your own."}, "reject_rule_ids"),
        ({"response": "Use your own (rules: none)."}, "reject_rule_ids"),
        ({"rests_on_dropped": True}, "reject_rests_on_dropped"),
        ({"response": "..."}, "reject_placeholders"),
        ({"response": LOOP}, "reject_loops"),
        ({"response": "Hello!"}, "reject_empty_responses"),
    ],
)
def test_bad_text_after_refinement_stops_a_row_unless_a_person_allows_it(
    changes: Any, setting: str
) -> None:
    row = a_refined_cot(**changes)
    assert reason_for(row) is Reason.BAD_TEXT
    assert reason_for(row, **{setting: False}) is None


def test_agents_may_name_rules_before_refinement() -> None:
    assert reason_for(a_deliberated_cot(response="As illegal.1 says, no.")) is None


@pytest.mark.parametrize("side", ["rejected_cot", "rejected_response"])
@pytest.mark.parametrize("text", ["...", LOOP, "As illegal.1 says, no."])
def test_a_pair_whose_rejected_side_teaches_nothing_is_stopped(
    side: str, text: str
) -> None:
    assert reason_for(a_pair(**{side: text})) is Reason.BAD_TEXT


def test_a_rejected_side_may_refuse() -> None:
    assert reason_for(a_pair(rejected_response="I can't help with that.")) is None


def test_the_verdict_contains_the_details() -> None:
    row = a_seed_cot(thoughts=(a_thought(), a_thought(number=2, rules=("illegal.9",))))
    verdict = check_row(row, CheckSettings(), builders.policies())
    assert verdict == (
        Reason.UNKNOWN_RULE,
        "thought 2 cites 'illegal.9', which no policy has",
    )


def test_a_record_that_is_not_a_row_is_refused() -> None:
    with pytest.raises(TypeError, match="Thought is not a row"):
        check_row(a_thought(), CheckSettings(), builders.policies())


def test_settings_reject_unknown_names_and_impossible_shares() -> None:
    with pytest.raises(ValidationError, match="min_tokens"):
        CheckSettings(min_tokens=1)  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="max_failure_share"):
        CheckSettings(max_failure_share=1.5)
