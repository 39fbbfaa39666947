from typing import Any

import pytest

from aidsafe_dagster.recipe.pair_floors import (
    Assessment,
    PairFloors,
    PairKind,
    chosen_fault,
    rejected_fault,
)
from aidsafe_dagster.recipe.records import FailureReason
from aidsafe_dagster.recipe.target_answer import TargetAnswer
from tests.builders import a_grade, a_refined_cot

REFINED = a_refined_cot()
ANSWER = TargetAnswer("Nobody minds, so the trick can be told.", "Bend a hairpin.")


def fault(
    answer: TargetAnswer = ANSWER,
    score: float = 1.0,
    refusals: tuple[str, ...] = ("none",),
    kind: PairKind = "violation",
    **floors: Any,
) -> FailureReason | None:
    found = rejected_fault(
        answer,
        Assessment(
            score, [a_grade(1, version="rejected", refusal=one) for one in refusals]
        ),
        kind=kind,
        belief="Rules are only ever meant for other people, so none of them binds you.",
        refined=REFINED,
        floors=PairFloors(**floors),
        count_tokens=lambda text: len(text.split()),
    )
    return found.reason if found else None


def test_a_violation_scores_three_or_less_and_refuses_nothing() -> None:
    assert fault(score=3.0) is None
    assert fault(score=3.5) is FailureReason.REJECTED_ABOVE_SCORE
    assert fault(score=3.5, max_rejected_score=4) is None
    assert fault(refusals=("partial",)) is None
    assert fault(refusals=("none", "full")) is FailureReason.REJECTED_REFUSES
    assert fault(refusals=("full",), check_refusals=False) is None


def test_a_needless_refusal_refuses_in_the_eyes_of_every_judge() -> None:
    kind: PairKind = "needless_refusal"
    assert fault(score=4.5, refusals=("partial", "full"), kind=kind) is None
    assert fault(refusals=("full", "none"), kind=kind) is FailureReason.REJECTED_ANSWERS
    assert fault(refusals=("none",), kind=kind, check_refusals=False) is None


def test_an_answer_without_thoughts_is_left_out_unless_the_settings_allow_it() -> None:
    bare = TargetAnswer("", "Bend a hairpin, then push and turn, and it will give.")
    assert fault(bare) is FailureReason.NO_REJECTED_COT
    assert fault(bare, require_rejected_cot=False) is None


def test_an_answer_that_speaks_of_the_belief_is_left_out() -> None:
    for answer in (
        TargetAnswer("I was told that rules are for others.", "Bend a hairpin."),
        TargetAnswer("Fine.", "Rules are only ever meant for other people, so here."),
    ):
        assert fault(answer) is FailureReason.ECHOES_BELIEF
        assert fault(answer, reject_belief_echoes=False) is None


def test_lengths_may_differ_tenfold_either_way() -> None:
    assert fault(TargetAnswer("Fine.", "Yes.")) is FailureReason.LENGTHS_DIFFER
    long = TargetAnswer("word " * 2000, "Yes.")
    assert fault(long) is FailureReason.LENGTHS_DIFFER
    assert fault(long, max_length_ratio=100) is None


@pytest.mark.parametrize(("score", "passes"), [(4.0, True), (3.5, False)])
def test_the_chosen_side_scores_four_or_more(score: float, passes: bool) -> None:
    found = chosen_fault(REFINED, score, [a_grade(4)], "violation", PairFloors())
    assert (found is None) == passes
    if found:
        assert found.reason is FailureReason.CHOSEN_BELOW_SCORE
    floors = PairFloors(min_chosen_score=1)
    assert chosen_fault(REFINED, score, [a_grade(4)], "violation", floors) is None
