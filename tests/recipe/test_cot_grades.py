from collections import Counter
from collections.abc import Callable

import pytest

from aidsafe_dagster.recipe.cot_grades import GradingSettings, Versions, grade_versions, is_compared
from aidsafe_dagster.recipe.dialogue import Request
from aidsafe_dagster.recipe.errors import RowFailed
from aidsafe_dagster.recipe.records import CotGrades, FailureReason, Role, Stage
from tests.builders import a_deliberated_cot, a_refined_cot, a_single_llm_cot
from tests.recipe.scripted_model import a_conversation, a_grade_answer, a_preference, run_dialogue

REFINED = a_refined_cot()
ALL = Versions(
    REFINED,
    a_deliberated_cot(response="As deliberated."),
    a_single_llm_cot(response="As one thinks."),
)
TWO = GradingSettings(judges=2)


def is_grade(request: Request) -> bool:
    return "# Task: grade" in request.messages[1].content


def fine(request: Request) -> str:
    return a_grade_answer() if is_grade(request) else a_preference("tie")


def graded(
    model: Callable[[Request], str] = fine,
    versions: Versions = ALL,
    settings: GradingSettings = TWO,
) -> tuple[CotGrades, list[Request]]:
    conversation = a_conversation(Stage.COT_GRADES, versions.refined)
    return run_dialogue(grade_versions(conversation, versions, settings), model)


def test_every_judge_grades_every_version_and_compares_the_refined_one_with_the_others_in_both_orders() -> (
    None
):
    row, requests = graded()
    assert [(g.judge, g.version) for g in row.grades] == [
        (judge, version)
        for judge in ("judge", "second_judge")
        for version in ("refined", "deliberated", "single_llm")
    ]
    assert [(c.judge, c.version, c.against) for c in row.comparisons] == [
        (judge, "refined", other)
        for judge in ("judge", "second_judge")
        for other in ("single_llm", "deliberated")
    ]
    assert Counter(map(is_grade, requests)) == {True: 6, False: 8}
    assert {request.sampling.temperature for request in requests} == {0.0}


def test_one_judge_is_asked_by_default() -> None:
    row, _ = graded(settings=GradingSettings())
    assert {grade.judge for grade in row.grades} == {"judge"}


def test_judge_answers_that_do_not_parse_are_counted_and_never_scored() -> None:
    def babbles(request: Request) -> str:
        babbling = request.role is Role.SECOND_JUDGE or not is_grade(request)
        return "Quite good, I would say." if babbling else a_grade_answer(4)

    row, requests = graded(babbles)
    assert {(mark.judge, mark.task) for mark in row.ungraded} == {
        ("second_judge", "grade refined"),
        ("second_judge", "grade deliberated"),
        ("second_judge", "grade single_llm"),
        *(
            (judge, f"compare refined with {v}")
            for judge in ("judge", "second_judge")
            for v in ("single_llm", "deliberated")
        ),
    }
    assert [(g.judge, g.policy_to_cot.score) for g in row.grades] == [("judge", 4)] * 3
    assert row.comparisons == ()
    assert row.policy_score == 4
    assert row.usage.calls == len(requests) == 3 + 3 * 3 + 4 * 3


def test_a_comparison_that_parses_in_one_order_alone_is_counted_and_decides_nothing() -> None:
    def once(request: Request) -> str:
        if is_grade(request):
            return a_grade_answer()
        first = request.messages[1].content.partition("The second:")[0]
        return a_preference("first") if REFINED.response in first else "Neither, really."

    row, _ = graded(once, settings=GradingSettings())
    assert row.comparisons == ()
    assert len(row.ungraded) == 2


def test_a_row_whose_refined_cot_no_judge_grades_fails_and_is_drawn_anew_from_the_start() -> None:
    conversation = a_conversation(Stage.COT_GRADES, REFINED)
    dialogue = grade_versions(conversation, ALL, TWO)

    def grades_the_others(request: Request) -> str:
        return (
            "Hm."
            if is_grade(request) and REFINED.response in request.messages[1].content
            else fine(request)
        )

    with pytest.raises(RowFailed) as failed:
        run_dialogue(dialogue, grades_the_others)
    assert failed.value.reason is FailureReason.NOT_GRADED
    failure = conversation.failure(failed.value.reason, failed.value.detail, redraw=True)
    assert failure.redraws == (0,)
    assert "judge: " in failure.detail
    assert "second_judge: " in failure.detail


def test_a_row_without_a_baseline_is_compared_with_what_there_is() -> None:
    row, _ = graded(versions=Versions(REFINED, ALL.deliberated), settings=GradingSettings())
    assert [grade.version for grade in row.grades] == ["refined", "deliberated"]
    assert [comparison.against for comparison in row.comparisons] == ["deliberated"]


def test_of_rows_outside_the_share_the_refined_cot_alone_is_graded() -> None:
    row, requests = graded(settings=GradingSettings(compared=0))
    assert [grade.version for grade in row.grades] == ["refined"]
    assert len(requests) == 1


def test_the_share_takes_the_same_prompts_every_time_and_more_as_it_grows() -> None:
    taken = [{n for n in range(2000) if is_compared(f"p{n}", share)} for share in (0, 0.2, 0.5, 1)]
    assert taken[0] == set()
    assert taken[1] < taken[2] < taken[3] == set(range(2000))
    assert len(taken[1]) == pytest.approx(400, abs=60)


def test_the_policy_score_of_a_row_is_that_of_its_refined_cot() -> None:
    def strict(request: Request) -> str:
        if not is_grade(request):
            return a_preference("tie")
        refined = REFINED.response in request.messages[1].content
        return a_grade_answer(
            1, policy_to_cot=4 if refined else 1, policy_to_response=5 if refined else 1
        )

    assert graded(strict)[0].policy_score == 4.5


def test_a_grade_row_tells_what_kind_of_prompt_it_is_about() -> None:
    assert graded()[0].prompt_kind == "borderline"
