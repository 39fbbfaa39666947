from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from aidsafe_dagster.recipe.beliefs import BeliefSearch
from aidsafe_dagster.recipe.cot_grades import GradingSettings
from aidsafe_dagster.recipe.dialogue import Request
from aidsafe_dagster.recipe.errors import RowFailed
from aidsafe_dagster.recipe.pair_floors import PairKind, similarity
from aidsafe_dagster.recipe.preference_pairs import PairSettings, run_iteration
from aidsafe_dagster.recipe.records import (
    Failure,
    FailureReason,
    PreferencePair,
    Role,
    Stage,
)
from aidsafe_dagster.recipe.seed_cots import join_thoughts
from tests.builders import a_cot_grades, a_grade, a_refined_cot, a_score
from tests.recipe.scripted_model import (
    a_belief,
    a_conversation,
    a_grade_answer,
    an_answer,
    message_text,
    run_dialogue,
)

REFINED = a_refined_cot()
# Tests about a floor set it themselves.
OPEN: dict[str, Any] = {
    "max_rejected_score": 5,
    "min_chosen_score": 1,
    "check_refusals": False,
    "max_length_ratio": 100,
    "plain_share": 0,
}
SETTINGS = PairSettings(candidates=1, iterations=1, **OPEN)
ONE_JUDGE = GradingSettings()


def a_search(**grades: Any) -> BeliefSearch:
    row = a_cot_grades(**grades)
    kind: PairKind = "needless_refusal"
    if row.prompt_kind == "harmful":
        kind = "violation"
    conversation = a_conversation(Stage.PREFERENCE_PAIRS, row)
    return BeliefSearch(conversation, REFINED, row, kind)


def model(target: str = an_answer(), score: int = 1) -> Callable[[Request], str]:
    def respond(request: Request) -> str:
        if request.role is Role.EAR_WHISPERER:
            return a_belief()
        if request.role is Role.TARGET:
            return target
        return a_grade_answer(score)

    return respond


def model_scoring(*scores: int) -> Callable[[Request], str]:
    """Return a model whose target never says the same twice, and whose judge scores in turn."""
    remaining_scores = iter(scores)
    numbers = count(1)

    def respond(request: Request) -> str:
        if request.role is Role.JUDGE:
            return a_grade_answer(next(remaining_scores))
        if request.role is Role.TARGET:
            return an_answer(response=f"Take rake number {next(numbers)}.")
        return model()(request)

    return respond


def make_pair(
    respond: Callable[[Request], str] = model(),
    search: BeliefSearch | None = None,
    settings: PairSettings = SETTINGS,
    grading: GradingSettings = ONE_JUDGE,
) -> tuple[PreferencePair, list[Request]]:
    """Return the pair of a single iteration, and the requests."""
    search = search or a_search(prompt_kind="harmful")
    pair, requests = run_dialogue(
        run_iteration(
            search,
            settings.iterations,
            [],
            settings,
            grading,
        ),
        respond,
    )
    assert isinstance(pair, PreferencePair)
    return pair, requests


def fail_pair(
    respond: Callable[[Request], str] = model(),
    search: BeliefSearch | None = None,
    settings: PairSettings = SETTINGS,
) -> Failure:
    search = search or a_search(prompt_kind="harmful")
    with pytest.raises(RowFailed) as failed:
        make_pair(respond, search, settings)
    return search.conversation.failure(
        failed.value.reason, failed.value.detail, redraw=True
    )


def test_chosen_is_the_refined_cot_and_rejected_the_misled_answer() -> None:
    row, _ = make_pair()
    assert row.chosen_cot == join_thoughts(REFINED.thoughts)
    assert row.chosen_response == REFINED.response
    assert row.rejected_cot == "Every lock is fair game."
    assert row.rejected_response == "Take a rake."
    assert row.belief == "Locks are never anybody's own."
    assert row.kind == "violation"
    assert row.prompt_kind == "harmful"
    assert row.chosen_cot_tokens == REFINED.cot_tokens
    assert row.rejected_cot_tokens == 5


def test_a_pair_has_the_scores_of_both_sides_by_judge_and_their_margin() -> None:
    grades = (
        a_grade(4, policy_to_cot=a_score(score=5, reason="Keeps to illegal.1.")),
        a_grade(4, judge="second_judge"),
        a_grade(1, version="single_llm"),
    )
    row, _ = make_pair(
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
    assert row.chosen_score == 4.25
    assert row.rejected_score == 2.0
    assert row.margin == 2.25
    assert row.chosen_scores[0].reason == "Keeps to illegal.1."


def test_a_pair_lists_all_candidate_beliefs() -> None:
    respond = model_scoring(3, 2)
    row, _ = make_pair(respond, settings=PairSettings(candidates=2, **OPEN))
    assert [(c.number, c.score) for c in row.candidates] == [(1, 3.0), (2, 2.0)]
    assert row.rejected_score == 2.0


def test_an_iteration_returns_the_pair_once_the_target_is_misled_far_enough() -> None:
    settings = PairSettings(
        candidates=1,
        iterations=2,
        good_enough=2,
        **OPEN,
    )
    pair, _ = run_dialogue(
        run_iteration(
            a_search(),
            1,
            [],
            settings,
            ONE_JUDGE,
        ),
        model(score=2),
    )
    assert isinstance(pair, PreferencePair)


def test_an_iteration_returns_the_search_if_another_one_follows() -> None:
    settings = PairSettings(
        candidates=1,
        iterations=2,
        good_enough=2,
        **OPEN,
    )
    search = a_search()
    first, _ = run_dialogue(
        run_iteration(
            search,
            1,
            [],
            settings,
            ONE_JUDGE,
        ),
        model(score=3),
    )
    assert first is search
    last, _ = run_dialogue(
        run_iteration(
            search,
            2,
            [],
            settings,
            ONE_JUDGE,
        ),
        model(score=3),
    )
    assert isinstance(last, PreferencePair)
    assert [candidate.iteration for candidate in last.candidates] == [1, 2]


def test_a_pair_below_the_margin_is_excluded_and_redrawn_from_the_start() -> None:
    exclusion = fail_pair(model(score=5))
    assert exclusion.reason is FailureReason.MARGIN_TOO_SMALL
    assert exclusion.detail == "5.00 against 5.00, 0.5 is due"
    assert exclusion.redraws == (0,)


def test_a_pair_at_the_margin_passes() -> None:
    settings = SETTINGS.model_copy(update={"min_margin": 3.0})
    row, _ = make_pair(model(score=2), settings=settings)
    assert row.margin == 3.0
    assert (
        fail_pair(model(score=3), settings=settings).reason
        is FailureReason.MARGIN_TOO_SMALL
    )


def test_a_pair_without_contrast_is_excluded_and_redrawn_from_the_start() -> None:
    same = an_answer(
        "\n\n".join(thought.text for thought in REFINED.thoughts), REFINED.response
    )
    exclusion = fail_pair(model(same))
    assert exclusion.reason is FailureReason.NO_CONTRAST
    assert exclusion.detail == "chosen and rejected are alike: 1.00"
    assert exclusion.redraws == (0,)


def test_a_pair_that_fails_a_later_check_is_redrawn_from_the_start() -> None:
    search = a_search(prompt_kind="harmful")
    make_pair(search=search, settings=SETTINGS.model_copy(update={"plain_share": 1.0}))
    assert search.conversation.failure(
        FailureReason.COT_TOO_LONG, "too long", redraw=True
    ).redraws == (0,)


@pytest.mark.parametrize(
    ("refusal", "is_excluded"), [("full", True), ("partial", False), ("none", False)]
)
def test_the_chosen_side_of_a_needless_refusal_pair_must_not_refuse(
    refusal: str, is_excluded: bool
) -> None:
    grades = (a_grade(refusal=refusal), a_grade(version="single_llm", refusal="full"))
    search = a_search(grades=grades, prompt_kind="benign")
    if is_excluded:
        assert fail_pair(search=search).reason is FailureReason.CHOSEN_REFUSES
    else:
        assert make_pair(search=search)[0].kind == "needless_refusal"


def test_the_chosen_side_of_a_violation_pair_may_refuse() -> None:
    search = a_search(grades=(a_grade(refusal="full"),), prompt_kind="harmful")
    assert make_pair(search=search)[0].kind == "violation"


def test_a_refusal_of_the_target_is_a_valid_answer() -> None:
    row, requests = make_pair(
        model(an_answer("This is nothing for me to help with.", "No."))
    )
    assert len(requests) == 3
    assert row.rejected_response == "No."


def test_a_row_without_a_valid_answer_fails_with_the_reason_of_its_last_candidate() -> (
    None
):
    def respond(request: Request) -> str:
        return "<think>" if request.role is Role.TARGET else model()(request)

    failure = fail_pair(respond)
    assert failure.reason is FailureReason.UNPARSABLE
    assert failure.usage.calls == 4


def test_on_sampled_rows_two_answers_without_a_belief_are_scored() -> None:
    row, requests = make_pair(
        model_scoring(1, 4, 5),
        settings=SETTINGS.model_copy(update={"plain_share": 1.0}),
    )
    assert row.plain_scores == (4.0, 5.0)
    plain = [request for request in requests if request.role is Role.TARGET][1:]
    for request in plain:
        assert "<belief>" not in message_text(request)
    assert plain[0].seed != plain[1].seed


def test_an_unparsable_plain_answer_does_not_fail_the_row() -> None:
    def respond(request: Request) -> str:
        is_plain = "<belief>" not in request.messages[1].content
        if request.role is Role.TARGET and is_plain:
            return "<think>"
        return model()(request)

    row, _ = make_pair(
        respond, settings=SETTINGS.model_copy(update={"plain_share": 1.0})
    )
    assert row.plain_scores == ()


def test_a_guard_scores_both_sides() -> None:
    def respond(request: Request) -> str:
        if request.role is not Role.GUARD:
            return model()(request)
        if request.inputs.subject.version == "refined":
            return '{"Yes": 0.1, "No": 0.9}'
        return '{"Yes": 0.9, "No": 0.1}'

    row, requests = make_pair(
        respond, settings=SETTINGS.model_copy(update={"scorer": "guard"})
    )
    assert row.chosen_score == 4.6
    assert row.rejected_score == 1.4
    assert row.margin == 3.2
    assert Role.JUDGE not in {request.role for request in requests}


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [("a b c", "A  b\nC", 1.0), ("a b", "c d", 0.0), ("a b", "a c", 0.5)],
)
def test_similarity_is_the_share_of_words_in_common_in_order(
    one: str, other: str, alike: float
) -> None:
    assert similarity(one, other) == alike
