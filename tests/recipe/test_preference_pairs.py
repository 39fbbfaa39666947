from collections.abc import Callable
from typing import Any

import pytest

from aidsafe_dagster.recipe.beliefs import BeliefSearch
from aidsafe_dagster.recipe.cot_grades import GradingSettings
from aidsafe_dagster.recipe.dialogue import Request
from aidsafe_dagster.recipe.errors import RowFailed
from aidsafe_dagster.recipe.preference_pairs import PairSettings, run_iteration, similarity
from aidsafe_dagster.recipe.records import Failure, FailureReason, PreferencePair, Role, Stage
from aidsafe_dagster.recipe.seed_cots import join_thoughts
from tests.builders import a_cot_grades, a_grade, a_refined_cot, a_score
from tests.recipe.scripted_model import (
    a_belief,
    a_conversation,
    a_grade_answer,
    an_answer,
    run_dialogue,
)

REFINED = a_refined_cot()
SETTINGS = PairSettings(candidates=1, iterations=1, plain_share=0)
ONE_JUDGE = GradingSettings()


def a_search(**grades: Any) -> BeliefSearch:
    graded = a_cot_grades(**grades)
    kind = "violation" if graded.prompt_kind == "harmful" else "needless_refusal"
    return BeliefSearch(a_conversation(Stage.PREFERENCE_PAIRS, graded), REFINED, graded, kind)  # type: ignore[arg-type]


def model(target: str = an_answer(), score: int = 1) -> Callable[[Request], str]:
    def said(request: Request) -> str:
        if request.role is Role.EAR_WHISPERER:
            return a_belief()
        return target if request.role is Role.TARGET else a_grade_answer(score)

    return said


def paired(
    said: Callable[[Request], str] = model(),
    search: BeliefSearch | None = None,
    settings: PairSettings = SETTINGS,
    grading: GradingSettings = ONE_JUDGE,
) -> tuple[PreferencePair, list[Request]]:
    """One iteration, and the pair."""
    search = search or a_search(prompt_kind="harmful")

    pair, requests = run_dialogue(
        run_iteration(search, settings.iterations, [], settings, grading), said
    )
    assert isinstance(pair, PreferencePair)
    return pair, requests


def failure(
    said: Callable[[Request], str] = model(),
    search: BeliefSearch | None = None,
    settings: PairSettings = SETTINGS,
) -> Failure:
    search = search or a_search(prompt_kind="harmful")
    with pytest.raises(RowFailed) as failed:
        paired(said, search, settings)
    return search.conversation.failure(failed.value.reason, failed.value.detail, redraw=True)


def test_chosen_is_the_refined_cot_and_rejected_what_the_misled_target_said() -> None:
    row, _ = paired()
    assert (row.chosen_cot, row.chosen_response) == (
        join_thoughts(REFINED.thoughts),
        REFINED.response,
    )
    assert (row.rejected_cot, row.rejected_response) == ("Every lock is fair game.", "Take a rake.")
    assert row.belief == "Locks are never anybody's own."
    assert (row.kind, row.prompt_kind) == ("violation", "harmful")
    assert (row.chosen_cot_tokens, row.rejected_cot_tokens) == (REFINED.cot_tokens, 5)


def test_a_pair_carries_both_sides_scores_by_judge_and_their_margin() -> None:
    grades = (
        a_grade(4, policy_to_cot=a_score(score=5, reason="Keeps to illegal.1.")),
        a_grade(4, judge="second_judge"),
        a_grade(1, version="single_llm"),
    )
    row, _ = paired(
        model(score=2),
        a_search(grades=grades, prompt_kind="harmful"),
        grading=GradingSettings(judges=2),
    )
    assert [(score.judge, score.score) for score in row.chosen_scores] == [
        ("judge", 4.5),
        ("second_judge", 4.0),
    ]
    assert [(score.judge, score.score) for score in row.rejected_scores] == [
        ("judge", 2.0),
        ("second_judge", 2.0),
    ]
    assert (row.chosen_score, row.rejected_score, row.margin) == (4.25, 2.0, 2.25)
    assert row.chosen_scores[0].reason == "Keeps to illegal.1."


def test_a_pair_shows_every_belief_that_was_tried() -> None:
    scores = iter([3, 2])

    def said(request: Request) -> str:
        return a_grade_answer(next(scores)) if request.role is Role.JUDGE else model()(request)

    row, _ = paired(said, settings=PairSettings(candidates=2, plain_share=0))
    assert [(c.number, c.score) for c in row.candidates] == [(1, 3.0), (2, 2.0)]
    assert row.rejected_score == 2.0


def test_a_prompt_has_its_pair_as_soon_as_no_further_iteration_is_due() -> None:
    settings = PairSettings(candidates=1, iterations=2, good_enough=2, plain_share=0)
    found, _ = run_dialogue(run_iteration(a_search(), 1, [], settings, ONE_JUDGE), model(score=2))
    assert isinstance(found, PreferencePair)
    search = a_search()
    going_on, _ = run_dialogue(run_iteration(search, 1, [], settings, ONE_JUDGE), model(score=3))
    assert going_on is search
    last, _ = run_dialogue(run_iteration(search, 2, [], settings, ONE_JUDGE), model(score=3))
    assert isinstance(last, PreferencePair)
    assert [candidate.iteration for candidate in last.candidates] == [1, 2]


def test_a_pair_below_the_margin_is_left_out_and_looks_for_other_beliefs_from_the_start_next_time() -> (
    None
):
    left_out = failure(model(score=5))
    assert left_out.reason is FailureReason.MARGIN_TOO_SMALL
    assert left_out.detail == "5.00 against 5.00, 0.5 is due"
    assert left_out.redraws == (0,)


def test_a_pair_at_the_margin_passes() -> None:
    settings = SETTINGS.model_copy(update={"min_margin": 3.0})
    row, _ = paired(model(score=2), settings=settings)
    assert row.margin == 3.0
    assert failure(model(score=3), settings=settings).reason is FailureReason.MARGIN_TOO_SMALL


def test_a_pair_whose_sides_do_not_differ_is_left_out_with_a_reason() -> None:
    same = an_answer("\n\n".join(thought.text for thought in REFINED.thoughts), REFINED.response)
    left_out = failure(model(same))
    assert left_out.reason is FailureReason.NO_CONTRAST
    assert left_out.detail == "chosen and rejected are alike: 1.00"
    assert left_out.redraws == (0,)


def test_a_finished_pair_that_a_check_turns_down_looks_for_other_beliefs_from_the_start_too() -> (
    None
):
    search = a_search(prompt_kind="harmful")
    paired(search=search, settings=SETTINGS.model_copy(update={"plain_share": 1.0}))
    assert search.conversation.failure(
        FailureReason.COT_TOO_LONG, "too long", redraw=True
    ).redraws == (0,)


@pytest.mark.parametrize(
    ("refusal", "left_out"), [("full", True), ("partial", False), ("none", False)]
)
def test_a_pair_on_needless_refusal_needs_a_chosen_side_that_does_not_refuse(
    refusal: str, left_out: bool
) -> None:
    grades = (a_grade(refusal=refusal), a_grade(version="single_llm", refusal="full"))
    search = a_search(grades=grades, prompt_kind="benign")
    if left_out:
        assert failure(search=search).reason is FailureReason.CHOSEN_REFUSES
    else:
        assert paired(search=search)[0].kind == "needless_refusal"


def test_a_violation_may_have_a_chosen_side_that_refuses() -> None:
    search = a_search(grades=(a_grade(refusal="full"),), prompt_kind="harmful")
    assert paired(search=search)[0].kind == "violation"


def test_a_target_that_refuses_is_not_taken_for_an_agent_that_refuses() -> None:
    row, requests = paired(model(an_answer("I'm sorry, but I can't help with that.", "No.")))
    assert len(requests) == 3
    assert row.rejected_response == "No."


def test_a_row_without_a_valid_answer_fails_for_the_reason_of_its_last_candidate() -> None:
    failed = failure(lambda request: "Hm." if request.role is Role.TARGET else model()(request))
    assert failed.reason is FailureReason.UNPARSABLE
    assert failed.usage.calls == 4


def test_on_sampled_rows_the_target_answers_twice_without_a_belief_and_both_answers_are_scored() -> (
    None
):
    scores = iter([1, 4, 5])

    def said(request: Request) -> str:
        return a_grade_answer(next(scores)) if request.role is Role.JUDGE else model()(request)

    row, requests = paired(said, settings=SETTINGS.model_copy(update={"plain_share": 1.0}))
    assert row.plain_scores == (4.0, 5.0)
    plain = [request for request in requests if request.role is Role.TARGET][1:]
    assert all(
        "<belief>" not in message.content for request in plain for message in request.messages
    )
    assert plain[0].seed != plain[1].seed


def test_plain_sampling_that_does_not_parse_costs_no_row() -> None:
    def said(request: Request) -> str:
        plain = request.role is Role.TARGET and "<belief>" not in request.messages[1].content
        return "Hm." if plain else model()(request)

    row, _ = paired(said, settings=SETTINGS.model_copy(update={"plain_share": 1.0}))
    assert row.plain_scores == ()


def test_with_a_guard_both_sides_are_scored_by_it() -> None:
    def said(request: Request) -> str:
        if request.role is not Role.GUARD:
            return model()(request)
        return (
            '{"Yes": 0.1, "No": 0.9}'
            if request.inputs.subject.version == "refined"
            else '{"Yes": 0.9, "No": 0.1}'
        )

    row, requests = paired(said, settings=SETTINGS.model_copy(update={"scorer": "guard"}))
    assert (row.chosen_score, row.rejected_score, row.margin) == (4.6, 1.4, 3.2)
    assert Role.JUDGE not in {request.role for request in requests}


@pytest.mark.parametrize(
    ("one", "other", "alike"), [("a b c", "A  b\nC", 1.0), ("a b", "c d", 0.0), ("a b", "a c", 0.5)]
)
def test_similarity_is_the_share_of_words_in_common_in_order(
    one: str, other: str, alike: float
) -> None:
    assert similarity(one, other) == alike
