from collections.abc import Callable

import pytest

from aidsafe_dagster.recipe.answers import GradeAnswer
from aidsafe_dagster.recipe.cot_grades import subject_of
from aidsafe_dagster.recipe.dialogue import Request
from aidsafe_dagster.recipe.errors import RowFailed
from aidsafe_dagster.recipe.judging import Subject, compare, grade, policy_score, to_grade
from aidsafe_dagster.recipe.records import Comparison, Message, Role, Stage
from tests.builders import FIRST, SECOND, a_refined_cot, a_single_llm_cot
from tests.recipe.scripted_model import (
    a_conversation,
    a_grade_answer,
    a_preference,
    message_text,
    run_dialogue,
)

REFINED = a_refined_cot()
REFINED_SUBJECT = subject_of("refined", REFINED)
ALONE = subject_of("single_llm", a_single_llm_cot(response="It just does."))


def graded(answer: str, subject: Subject = REFINED_SUBJECT) -> tuple[GradeAnswer, list[Request]]:
    conversation = a_conversation(Stage.COT_GRADES, REFINED)
    conversation.messages = (Message(role="user", content="What was said before."),)
    return run_dialogue(grade(conversation, Role.JUDGE, subject, 0.0), lambda _: answer)


def compared(prefers: Callable[[Request], str]) -> tuple[Comparison, list[Request]]:
    conversation = a_conversation(Stage.COT_GRADES, REFINED)
    dialogue = compare(conversation, Role.JUDGE, REFINED_SUBJECT, ALONE, 0.0)
    return run_dialogue(dialogue, lambda request: a_preference(prefers(request)))


def shows_first(request: Request, subject: Subject) -> bool:
    first, _, _ = message_text(request).partition("The second:")
    return subject.response in first


def test_the_judge_is_shown_the_prompt_the_policies_the_thoughts_and_the_response() -> None:
    _, (request,) = graded(a_grade_answer())
    told = message_text(request)
    assert all(
        text in told
        for text in (REFINED.prompt, FIRST, SECOND, REFINED.response, "Help with no crime.")
    )


def test_the_judge_is_blind_to_who_made_it_which_version_it_is_and_which_rules_the_thoughts_claim() -> (
    None
):
    _, (request,) = graded(a_grade_answer())
    task = request.messages[1].content
    assert len(request.messages) == 2  # nothing of what was said before
    for hidden in (
        "refined",
        "deliberat",
        "single",
        "agent",
        "illegal.1",
        "helpfulness.1",
        "endpoint",
        "small-chat",
    ):
        assert hidden not in task.casefold()


def test_two_versions_with_the_same_words_are_the_same_question() -> None:
    again = Subject("deliberated", REFINED_SUBJECT.thoughts, REFINED_SUBJECT.response)
    (one,), (other,) = graded(a_grade_answer())[1], graded(a_grade_answer(), again)[1]
    assert one.key("m") == other.key("m")


def test_a_grade_keeps_six_scores_with_their_reasons_and_the_rule_and_thought_concerned() -> None:
    answer, _ = graded(
        a_grade_answer(4, policy_to_cot=2, rule="illegal.1", thought=2, refusal="Partial")
    )
    row = to_grade(answer, "refined", Role.JUDGE, "small-chat")
    assert (row.policy_to_cot.score, row.policy_to_cot.rule, row.policy_to_cot.thought) == (
        2,
        "illegal.1",
        2,
    )
    assert (row.relevance.score, row.relevance.rule, row.relevance.thought) == (4, "", 0)
    assert row.coherence.reason == "So much for coherence."
    assert (row.refusal, row.judge, row.version) == ("partial", "judge", "refined")


def test_no_rule_concerned_is_an_empty_one() -> None:
    answer, _ = graded(a_grade_answer(rule="none"))
    assert to_grade(answer, "refined", Role.JUDGE, "m").policy_to_cot.rule == ""


@pytest.mark.parametrize(
    "answer",
    [
        a_grade_answer(rule="law.1"),
        a_grade_answer(thought=3),
        a_grade_answer(score=6),
        a_grade_answer(score=0),
        a_grade_answer(refusal="somewhat"),
        "Good!",
    ],
)
def test_an_answer_outside_the_scale_the_rules_or_the_thoughts_is_no_grade(answer: str) -> None:
    with pytest.raises(RowFailed):
        graded(answer)


def test_a_comparison_is_asked_in_both_orders() -> None:
    _, requests = compared(lambda _: "tie")
    assert [shows_first(request, REFINED_SUBJECT) for request in requests] == [True, False]


@pytest.mark.parametrize(("refined_wins", "outcome"), [(True, "win"), (False, "loss")])
def test_a_preference_that_holds_in_both_orders_decides(refined_wins: bool, outcome: str) -> None:
    row, _ = compared(
        lambda r: "first" if shows_first(r, REFINED_SUBJECT) == refined_wins else "second"
    )
    assert (row.version, row.against, row.outcome, row.consistent) == (
        "refined",
        "single_llm",
        outcome,
        True,
    )
    assert len(row.reasons) == 2


@pytest.mark.parametrize("always", ["first", "second"])
def test_a_preference_for_a_place_becomes_a_tie_that_is_seen_to_be_inconsistent(
    always: str,
) -> None:
    row, _ = compared(lambda _: always)
    assert (row.outcome, row.consistent) == ("tie", False)


def test_a_preference_in_one_order_alone_becomes_a_tie() -> None:
    row, _ = compared(lambda r: "first" if shows_first(r, REFINED_SUBJECT) else "tie")
    assert (row.outcome, row.consistent) == ("tie", False)


def test_a_tie_in_both_orders_is_a_tie_of_a_consistent_judge() -> None:
    row, _ = compared(lambda _: "Tie")
    assert (row.outcome, row.consistent) == ("tie", True)


def test_the_policy_score_is_the_mean_of_two_faithfulness_scores_over_the_judges() -> None:
    answers = [
        graded(a_grade_answer(1, policy_to_cot=c, policy_to_response=r))[0]
        for c, r in ((5, 4), (3, 2))
    ]
    assert policy_score(answers) == 3.5
