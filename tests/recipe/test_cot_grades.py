from collections import Counter
from collections.abc import Callable

import pytest

from aidsafe_dagster.recipe.cot_grades import (
    GradingSettings,
    Versions,
    grade_versions,
    is_compared,
    why_not_graded,
)
from aidsafe_dagster.recipe.dialogue import Request
from aidsafe_dagster.recipe.errors import RowFailed
from aidsafe_dagster.recipe.records import (
    CotGrades,
    Derivation,
    FailureReason,
    Role,
    Stage,
)
from tests.builders import a_deliberated_cot, a_refined_cot, a_single_llm_cot
from tests.recipe.scripted_model import (
    a_conversation,
    a_grade_answer,
    a_preference,
    run_dialogue,
)

REFINED = a_refined_cot()
ALL = Versions(
    REFINED,
    a_deliberated_cot(response="As deliberated."),
    a_single_llm_cot(response="As one thinks."),
)
TWO = GradingSettings(judges=2)


def is_grade(request: Request) -> bool:
    return "# Task: grade" in request.messages[1].content


def answer_well(request: Request) -> str:
    return a_grade_answer() if is_grade(request) else a_preference("tie")


def run_grading(
    model: Callable[[Request], str] = answer_well,
    versions: Versions = ALL,
    settings: GradingSettings = TWO,
) -> tuple[CotGrades, list[Request]]:
    conversation = a_conversation(Stage.COT_GRADES, versions.refined)
    return run_dialogue(grade_versions(conversation, versions, settings), model)


def test_each_judge_grades_all_versions_and_compares_them_in_both_orders() -> None:
    row, requests = run_grading()
    assert [(g.judge, g.version) for g in row.grades] == [
        ("judge", "refined"),
        ("judge", "deliberated"),
        ("judge", "single_llm"),
        ("second_judge", "refined"),
        ("second_judge", "deliberated"),
        ("second_judge", "single_llm"),
    ]
    assert [(c.judge, c.version, c.against) for c in row.comparisons] == [
        ("judge", "refined", "single_llm"),
        ("judge", "refined", "deliberated"),
        ("second_judge", "refined", "single_llm"),
        ("second_judge", "refined", "deliberated"),
    ]
    assert Counter(map(is_grade, requests)) == {True: 6, False: 8}
    assert {request.sampling.temperature for request in requests} == {0.0}


def test_there_is_one_judge_by_default() -> None:
    row, _ = run_grading(settings=GradingSettings())
    assert {grade.judge for grade in row.grades} == {"judge"}


def test_judge_answers_that_do_not_parse_are_counted_and_never_scored() -> None:
    def respond(request: Request) -> str:
        if request.role is Role.JUDGE and is_grade(request):
            return a_grade_answer(4)
        return "Quite good, I would say."

    row, requests = run_grading(respond)
    assert {(ungraded.judge, ungraded.task) for ungraded in row.ungraded} == {
        ("judge", "compare refined with single_llm"),
        ("judge", "compare refined with deliberated"),
        ("second_judge", "grade refined"),
        ("second_judge", "grade deliberated"),
        ("second_judge", "grade single_llm"),
        ("second_judge", "compare refined with single_llm"),
        ("second_judge", "compare refined with deliberated"),
    }
    assert [(g.judge, g.policy_to_cot.score) for g in row.grades] == [("judge", 4)] * 3
    assert row.comparisons == ()
    assert row.policy_score == 4
    # An answer that does not parse is asked for three times.
    assert row.usage.calls == len(requests) == 3 + 3 * 3 + 4 * 3


def test_a_comparison_that_parses_in_only_one_order_is_ungraded() -> None:
    def respond(request: Request) -> str:
        if is_grade(request):
            return a_grade_answer()
        first = request.messages[1].content.partition("The second:")[0]
        return (
            a_preference("first") if REFINED.response in first else "Neither, really."
        )

    row, _ = run_grading(respond, settings=GradingSettings())
    assert row.comparisons == ()
    assert len(row.ungraded) == 2


def test_a_row_without_a_grade_of_its_refined_cot_fails_and_is_redrawn_from_the_start() -> (
    None
):
    conversation = a_conversation(Stage.COT_GRADES, REFINED)
    dialogue = grade_versions(conversation, ALL, TWO)

    def respond(request: Request) -> str:
        if is_grade(request) and REFINED.response in request.messages[1].content:
            return "Hm."
        return answer_well(request)

    with pytest.raises(RowFailed) as failed:
        run_dialogue(dialogue, respond)
    assert failed.value.reason is FailureReason.NOT_GRADED
    failure = conversation.failure(
        failed.value.reason, failed.value.detail, redraw=True
    )
    assert failure.redraws == (0,)
    assert "judge: " in failure.detail
    assert "second_judge: " in failure.detail


def test_a_row_without_a_baseline_is_compared_with_the_remaining_version() -> None:
    row, _ = run_grading(
        versions=Versions(REFINED, ALL.deliberated), settings=GradingSettings()
    )
    assert [grade.version for grade in row.grades] == ["refined", "deliberated"]
    assert [comparison.against for comparison in row.comparisons] == ["deliberated"]


def test_only_the_refined_cot_is_graded_on_rows_outside_the_share() -> None:
    row, requests = run_grading(settings=GradingSettings(compared=0))
    assert [grade.version for grade in row.grades] == ["refined"]
    assert len(requests) == 1


def test_a_larger_share_contains_the_prompts_of_a_smaller_one() -> None:
    numbers = set(range(2000))
    fifth = {n for n in numbers if is_compared(f"p{n}", 0.2)}
    half = {n for n in numbers if is_compared(f"p{n}", 0.5)}
    assert fifth < half < numbers
    assert len(fifth) == pytest.approx(400, abs=60)
    assert not any(is_compared(f"p{n}", 0) for n in numbers)
    assert all(is_compared(f"p{n}", 1) for n in numbers)


def test_the_rows_that_are_graded_are_the_same_every_time_and_twins_always_are() -> (
    None
):
    prompts = [REFINED.model_copy(update={"prompt_id": f"p{n}"}) for n in range(2000)]

    def graded(share: float) -> set[str]:
        settings = GradingSettings(share=share)
        return {p.prompt_id for p in prompts if why_not_graded(p, settings) is None}

    assert graded(0.2) < graded(0.5) < graded(1.0)
    assert len(graded(0.2)) == pytest.approx(400, abs=60)
    assert len(graded(1.0)) == len(prompts)
    twin = Derivation(method="benign_twin", parent="p0", detail="")
    for prompt in prompts[:50]:
        made = prompt.model_copy(update={"derivation": twin})
        assert why_not_graded(made, GradingSettings(share=0.001)) is None


def test_a_row_outside_the_share_says_so_and_is_not_drawn_anew() -> None:
    failure = why_not_graded(REFINED, GradingSettings(share=1e-9))
    assert failure is not None
    assert failure.reason is FailureReason.NOT_DRAWN
    assert not failure.redraw


def test_the_policy_score_of_a_row_is_that_of_its_refined_cot() -> None:
    def respond(request: Request) -> str:
        if not is_grade(request):
            return a_preference("tie")
        if REFINED.response in request.messages[1].content:
            return a_grade_answer(1, policy_to_cot=4, policy_to_response=5)
        return a_grade_answer(1)

    row, _ = run_grading(respond)
    assert row.policy_score == 4.5


def test_a_grades_row_has_the_kind_of_its_prompt() -> None:
    row, _ = run_grading()
    assert row.prompt_kind == "borderline"
