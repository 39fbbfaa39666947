from collections.abc import Callable

import pytest

from aidsafe_dagster.recipe.answers import GradeAnswer
from aidsafe_dagster.recipe.cot_grades import subject_of
from aidsafe_dagster.recipe.dialogue import Request
from aidsafe_dagster.recipe.errors import RowFailed
from aidsafe_dagster.recipe.judging import (
    Subject,
    compare,
    grade,
    policy_score,
    to_grade,
)
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


def run_grade(
    answer: str, subject: Subject = REFINED_SUBJECT
) -> tuple[GradeAnswer, list[Request]]:
    conversation = a_conversation(Stage.COT_GRADES, REFINED)
    conversation.messages = (Message(role="user", content="What was said before."),)
    return run_dialogue(
        grade(
            conversation,
            Role.JUDGE,
            subject,
            0.0,
        ),
        lambda _: answer,
    )


def run_comparison(
    prefers: Callable[[Request], str],
) -> tuple[Comparison, list[Request]]:
    conversation = a_conversation(Stage.COT_GRADES, REFINED)
    dialogue = compare(
        conversation,
        Role.JUDGE,
        REFINED_SUBJECT,
        ALONE,
        0.0,
    )
    return run_dialogue(dialogue, lambda request: a_preference(prefers(request)))


def shows_first(request: Request, subject: Subject) -> bool:
    first, _, _ = message_text(request).partition("The second:")
    return subject.response in first


def test_the_judge_sees_prompt_policies_thoughts_and_response() -> None:
    _, (request,) = run_grade(a_grade_answer())
    text = message_text(request)
    for part in (
        REFINED.prompt,
        FIRST,
        SECOND,
        REFINED.response,
        "Help with no crime.",
    ):
        assert part in text


def test_the_judge_sees_no_author_no_version_and_no_claimed_rule() -> None:
    _, (request,) = run_grade(a_grade_answer())
    task = request.messages[1].content
    # The system message and the task: nothing of the earlier conversation.
    assert len(request.messages) == 2
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


def test_versions_with_the_same_text_share_one_request() -> None:
    again = Subject("deliberated", REFINED_SUBJECT.thoughts, REFINED_SUBJECT.response)
    _, (one,) = run_grade(a_grade_answer())
    _, (other,) = run_grade(a_grade_answer(), again)
    assert one.key("m") == other.key("m")


def test_a_grade_has_six_scores_with_reasons_rules_and_thoughts() -> None:
    answer, _ = run_grade(
        a_grade_answer(
            4,
            policy_to_cot=2,
            rule="illegal.1",
            thought=2,
            refusal="Partial",
        )
    )
    row = to_grade(
        answer,
        "refined",
        Role.JUDGE,
        "small-chat",
    )
    assert row.policy_to_cot.score == 2
    assert row.policy_to_cot.rule == "illegal.1"
    assert row.policy_to_cot.thought == 2
    assert row.relevance.score == 4
    assert row.relevance.rule == ""
    assert row.relevance.thought == 0
    assert row.coherence.reason == "So much for coherence."
    assert row.refusal == "partial"
    assert row.judge == "judge"
    assert row.version == "refined"


def test_the_answer_none_becomes_an_empty_rule() -> None:
    answer, _ = run_grade(a_grade_answer(rule="none"))
    assert (
        to_grade(
            answer,
            "refined",
            Role.JUDGE,
            "m",
        ).policy_to_cot.rule
        == ""
    )


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
def test_an_answer_outside_scale_rules_or_thoughts_fails(answer: str) -> None:
    with pytest.raises(RowFailed):
        run_grade(answer)


def test_a_comparison_shows_the_subjects_in_both_orders() -> None:
    _, requests = run_comparison(lambda _: "tie")
    assert [shows_first(request, REFINED_SUBJECT) for request in requests] == [
        True,
        False,
    ]


@pytest.mark.parametrize(("refined_wins", "outcome"), [(True, "win"), (False, "loss")])
def test_a_preference_that_holds_in_both_orders_decides(
    refined_wins: bool, outcome: str
) -> None:
    def prefer(request: Request) -> str:
        return (
            "first"
            if shows_first(request, REFINED_SUBJECT) == refined_wins
            else "second"
        )

    row, _ = run_comparison(prefer)
    assert row.version == "refined"
    assert row.against == "single_llm"
    assert row.outcome == outcome
    assert row.consistent
    assert len(row.reasons) == 2


@pytest.mark.parametrize("always", ["first", "second"])
def test_a_preference_for_a_position_becomes_an_inconsistent_tie(
    always: str,
) -> None:
    row, _ = run_comparison(lambda _: always)
    assert row.outcome == "tie"
    assert not row.consistent


def test_a_preference_in_only_one_order_becomes_a_tie() -> None:
    row, _ = run_comparison(
        lambda r: "first" if shows_first(r, REFINED_SUBJECT) else "tie"
    )
    assert row.outcome == "tie"
    assert not row.consistent


def test_a_tie_in_both_orders_is_a_consistent_tie() -> None:
    row, _ = run_comparison(lambda _: "Tie")
    assert row.outcome == "tie"
    assert row.consistent


def test_the_policy_score_is_the_mean_of_both_faithfulness_scores_and_all_judges() -> (
    None
):
    first, _ = run_grade(a_grade_answer(1, policy_to_cot=5, policy_to_response=4))
    second, _ = run_grade(a_grade_answer(1, policy_to_cot=3, policy_to_response=2))
    assert policy_score([first, second]) == 3.5


@pytest.mark.parametrize(
    ("response", "refusal"),
    [("Leider kann ich dabei nicht helfen.", "full"), ("Use a rake.", "none")],
)
def test_a_plain_refusal_counts_where_the_judge_sees_none(
    response: str, refusal: str
) -> None:
    subject = Subject("refined", ("A thought.",), response)
    answer, _ = run_grade(a_grade_answer(), subject)
    assert answer.refusal == refusal
