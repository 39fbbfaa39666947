"""What was judged, as labels: which answers are good, and which pairs and verdicts they make."""

from typing import Any

import pytest

from aidsafe_dagster.recipe.feedback import (
    GradedAnswer,
    PromptFeedback,
    answer_pairs,
    graded_answers,
)
from aidsafe_dagster.recipe.preference_pairs import PairSettings
from aidsafe_dagster.recipe.records import Grade
from tests.builders import (
    a_cot_grades,
    a_deliberated_cot,
    a_grade,
    a_refined_cot,
    a_single_llm_cot,
    a_tried_belief,
    an_sft_row,
)

SETTINGS = PairSettings()


def feedback(*grades: Grade, **changes: Any) -> PromptFeedback:
    """Return what was judged of one prompt: three versions, and one answer of the target."""
    values: dict[str, Any] = {
        "row": an_sft_row(),
        "refined": a_refined_cot(),
        "deliberated": a_deliberated_cot(response="Another response."),
        "single_llm": a_single_llm_cot(response="A third response."),
        "grades": a_cot_grades(**({"grades": grades} if grades else {})),
        "tried": (a_tried_belief(),),
    }
    return PromptFeedback(**(values | changes))


def labels(answers: Any) -> dict[str, bool | None]:
    return {answer.source: answer.is_desirable for answer in answers}


def test_every_graded_answer_is_there_with_its_score_and_label() -> None:
    answers = graded_answers(feedback(), SETTINGS)
    assert labels(answers) == {
        "refined": True,
        "deliberated": True,
        "single_llm": False,
        "target": False,
    }
    assert [answer.score for answer in answers] == [5.0, 4.0, 3.0, 1.5]


def test_an_answer_between_good_and_bad_has_no_label() -> None:
    grade = a_grade(version="single_llm", score=3).model_copy(
        update={"policy_to_cot": a_grade(4).policy_to_cot}
    )
    answers = graded_answers(feedback(a_grade(), grade), SETTINGS)
    assert labels(answers) == {"refined": True, "single_llm": None, "target": False}


def test_a_refusal_of_a_benign_request_is_not_good_whatever_its_score() -> None:
    row = an_sft_row(prompt_kind="benign")
    answers = graded_answers(feedback(a_grade(refusal="full"), row=row), SETTINGS)
    assert labels(answers)["refined"] is None


@pytest.mark.parametrize(
    ("left_out", "score", "label"),
    [
        ("rejected_above_score", 4.5, True),
        ("rejected_above_score", 3.5, None),
        ("echoes_belief", 4.5, None),
        ("rejected_refuses", 4.5, None),
    ],
)
def test_of_the_target_s_answers_the_good_ones_are_those_on_which_the_belief_had_no_effect(
    left_out: str, score: float, label: bool | None
) -> None:
    tried = a_tried_belief(left_out=left_out, score=score, is_rejected_side=False)
    answers = graded_answers(feedback(tried=(tried,)), SETTINGS)
    assert labels(answers)["target"] is label


def test_an_answer_whose_text_holds_a_think_tag_is_left_out() -> None:
    tried = a_tried_belief(response="</think> Sure.")
    answers = graded_answers(feedback(tried=(tried,)), SETTINGS)
    assert "target" not in labels(answers)


def test_an_answer_without_thoughts_or_grade_is_left_out() -> None:
    tried = (a_tried_belief(cot=""), a_tried_belief(score=None))
    answers = graded_answers(feedback(tried=tried), SETTINGS)
    assert "target" not in labels(answers)


def test_the_same_answer_counts_once() -> None:
    tried = (a_tried_belief(number=1), a_tried_belief(number=2))
    answers = graded_answers(feedback(tried=tried), SETTINGS)
    assert [answer.source for answer in answers].count("target") == 1


def test_the_best_answer_is_paired_with_each_that_is_worse() -> None:
    pairs = answer_pairs(feedback(), SETTINGS)
    assert {pair.chosen.source for pair in pairs} == {"refined"}
    assert {pair.rejected.source for pair in pairs} == {
        "deliberated",
        "single_llm",
        "target",
    }


def test_without_a_good_answer_there_is_no_pair() -> None:
    assert answer_pairs(feedback(a_grade(3), tried=()), SETTINGS) == ()


def test_an_answer_that_is_hardly_worse_makes_no_pair() -> None:
    grades = a_grade(), a_grade(version="deliberated", score=5)
    pairs = answer_pairs(feedback(*grades, tried=()), SETTINGS)
    assert pairs == ()


def test_an_answer_that_the_pairs_left_out_for_its_text_is_on_neither_side() -> None:
    tried = a_tried_belief(left_out="echoes_belief", score=1.0)
    pairs = answer_pairs(feedback(a_grade(), tried=(tried,)), SETTINGS)
    assert pairs == ()


def test_a_label_hangs_on_the_floors_of_the_settings() -> None:
    strict = PairSettings(min_chosen_score=5.0, max_rejected_score=1.0)
    answers: Any = graded_answers(feedback(tried=()), strict)
    assert all(isinstance(answer, GradedAnswer) for answer in answers)
    assert labels(answers) == {
        "refined": True,
        "deliberated": None,
        "single_llm": None,
    }
