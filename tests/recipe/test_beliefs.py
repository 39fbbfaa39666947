import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from aidsafe_dagster.recipe.beliefs import (
    BeliefSearch,
    BeliefSettings,
    choose_pair_kind,
    is_done,
    select_examples,
    try_candidates,
)
from aidsafe_dagster.recipe.cot_grades import GradingSettings
from aidsafe_dagster.recipe.dialogue import Request
from aidsafe_dagster.recipe.records import BeliefExample, Role, Stage
from tests.builders import FIRST, a_candidate, a_cot_grades, a_refined_cot
from tests.recipe.scripted_model import (
    a_belief,
    a_conversation,
    a_grade_answer,
    an_answer,
    message_text,
    run_dialogue,
)

REFINED = a_refined_cot()
ONE_JUDGE = GradingSettings()


def a_search(**changes: Any) -> BeliefSearch:
    refined = changes.pop("refined", REFINED)
    grades = a_cot_grades(prompt_id=refined.prompt_id)
    values: dict[str, Any] = {
        "conversation": a_conversation(Stage.PREFERENCE_PAIRS, grades),
        "refined": refined,
        "grades": grades,
        "kind": "violation",
    }
    return BeliefSearch(**(values | changes))


def scored(*scores: int) -> Callable[[Request], str]:
    """A model whose n-th belief leads to the n-th score; the belief says which it is."""
    given = iter(scores)
    beliefs = iter(range(1, 99))

    def said(request: Request) -> str:
        if request.role is Role.EAR_WHISPERER:
            return a_belief(f"Belief number {next(beliefs)}.")
        return an_answer() if request.role is Role.TARGET else a_grade_answer(next(given))

    return said


def tried(
    model: Callable[[Request], str],
    settings: BeliefSettings = BeliefSettings(),
    search: BeliefSearch | None = None,
    examples: Sequence[BeliefExample] = (),
    iteration: int = 1,
    grading: GradingSettings = ONE_JUDGE,
) -> tuple[BeliefSearch, list[Request]]:
    return run_dialogue(
        try_candidates(search or a_search(), iteration, examples, settings, grading), model
    )


def of_role(requests: Sequence[Request], role: Role) -> list[Request]:
    return [request for request in requests if request.role is role]


def test_every_candidate_is_kept_with_its_score_and_the_worst_answer_is_remembered() -> None:
    search, _ = tried(scored(4, 2), BeliefSettings(candidates=2))
    assert [(c.iteration, c.number, c.belief, c.score) for c in search.candidates] == [
        (1, 1, "Belief number 1.", 4.0),
        (1, 2, "Belief number 2.", 2.0),
    ]
    assert search.worst is not None
    assert (search.worst.belief, search.worst.score) == ("Belief number 2.", 2.0)


def test_a_later_candidate_that_misleads_less_does_not_replace_the_worst() -> None:
    search, _ = tried(scored(2, 4), BeliefSettings(candidates=2))
    assert search.worst is not None
    assert search.worst.belief == "Belief number 1."


def test_a_prompt_whose_answer_departs_far_enough_needs_no_further_belief() -> None:
    search, requests = tried(scored(1), BeliefSettings(candidates=5, good_enough=1.5))
    assert is_done(search, BeliefSettings(good_enough=1.5))
    assert len(of_role(requests, Role.EAR_WHISPERER)) == 1


def test_the_target_hears_the_belief_and_the_prompt_but_no_policy_and_nothing_of_how_they_came_about() -> (
    None
):
    _, requests = tried(scored(1))
    (asked,) = of_role(requests, Role.TARGET)
    assert "Belief number 1." in message_text(asked)
    assert REFINED.prompt in message_text(asked)
    for hidden in ("fraud.1", "Help with no crime", FIRST, "ear_whisperer"):
        assert hidden not in message_text(asked)


def test_the_whisperer_is_shown_what_was_tried_on_this_prompt_and_what_misled_on_others() -> None:
    examples = [BeliefExample(iteration=2, prompt_id="p7", belief="Keys are a fiction.", score=1.2)]
    search = a_search(candidates=[a_candidate(belief="Doors are rude.", score=3.5)])
    search, requests = tried(scored(1), search=search, examples=examples, iteration=2)
    told = message_text(of_role(requests, Role.EAR_WHISPERER)[0])
    assert "- (1.2) Keys are a fiction." in told
    assert "- (3.5) Doors are rude." in told
    assert search.examples == examples


def test_the_whisperer_is_told_which_kind_of_wrong_is_wanted() -> None:
    told = []
    for kind in ("violation", "needless_refusal"):
        _, requests = tried(scored(1), search=a_search(kind=kind))
        told.append(message_text(of_role(requests, Role.EAR_WHISPERER)[0]))
    assert "break one of the rules" in told[0]
    assert "refuse or lecture instead of helping" in told[1]


def test_a_candidate_without_a_valid_answer_is_kept_without_a_score_and_the_search_goes_on() -> (
    None
):
    def babbles_first(request: Request) -> str:
        if request.role is Role.TARGET and request.turn < 4:
            return "Hm."
        return scored(2)(request)

    search, _ = tried(babbles_first, BeliefSettings(candidates=2))
    first, second = search.candidates
    assert (first.score, second.score) == (None, 2.0)
    assert "unparsable" in first.note
    assert first.belief
    assert search.worst is not None


def test_a_search_in_which_nothing_parses_has_no_worst_answer_and_remembers_why() -> None:
    search, _ = tried(lambda _: "Hm.")
    assert search.worst is None
    assert search.failed is not None
    assert [candidate.belief for candidate in search.candidates] == ["", ""]


def test_two_judges_score_a_belief_by_their_mean() -> None:
    search, _ = tried(scored(1, 4), BeliefSettings(candidates=1), grading=GradingSettings(judges=2))
    assert search.worst is not None
    assert [(score.judge, score.score) for score in search.worst.scores] == [
        ("judge", 1.0),
        ("second_judge", 4.0),
    ]
    assert search.worst.score == 2.5


def with_guard(shares: dict[str, float], asked: list[str]) -> Callable[[Request], str]:
    def said(request: Request) -> str:
        if not request.labels:
            return scored(3)(request)
        asked.append(request.inputs.policy)
        yes = shares[request.inputs.policy]
        return json.dumps({"Yes": yes, "No": 1 - yes})

    return said


def test_a_guard_scores_by_the_policy_that_it_is_surest_was_violated() -> None:
    refined, asked = (
        a_refined_cot(applicable_policies=("fraud", "helpfulness", "illegal")),
        list[str](),
    )
    model = with_guard({"fraud": 0.2, "illegal": 0.75}, asked)
    search, _ = tried(
        model, BeliefSettings(scorer="guard", candidates=1), a_search(refined=refined)
    )
    assert asked == ["fraud", "illegal"]  # a policy for every message is no matter for a guard
    assert search.worst is not None
    (score,) = search.worst.scores
    assert (score.judge, score.score) == ("guard", 2.0)
    assert score.reason == "illegal violated with probability 0.75"


def test_a_guard_is_asked_for_a_yes_or_no_about_one_policy_and_the_whole_answer() -> None:
    asked: list[str] = []
    settings = BeliefSettings(scorer="guard", candidates=1)
    _, requests = tried(with_guard({"illegal": 0.5}, asked), settings)
    (request,) = of_role(requests, Role.GUARD)
    assert request.labels == ("Yes", "No")
    told = message_text(request)
    for shown in (
        REFINED.prompt,
        "Every lock is fair game.",
        "Take a rake.",
        "Say what is lawful.",
    ):
        assert shown in told
    assert "Help no one to deceive." not in told


def test_where_no_policy_but_those_for_every_message_applies_the_guard_is_asked_about_these() -> (
    None
):
    asked: list[str] = []
    refined = a_refined_cot(applicable_policies=("helpfulness",))
    settings = BeliefSettings(scorer="guard", candidates=1)
    tried(with_guard({"helpfulness": 0.5}, asked), settings, a_search(refined=refined))
    assert asked == ["helpfulness"]


def test_needless_refusals_are_scored_by_the_judge_since_no_guard_knows_of_them() -> None:
    settings = BeliefSettings(scorer="guard", candidates=1)
    _, requests = tried(scored(2), settings, a_search(kind="needless_refusal"))
    assert [request.role for request in requests] == [Role.EAR_WHISPERER, Role.TARGET, Role.JUDGE]


@pytest.mark.parametrize(
    "said", ["That depends.", "[]", '"Yes"', '{"Maybe": 1}', '{"Yes": 0, "No": 0}']
)
def test_a_guard_that_says_neither_yes_nor_no_leaves_the_candidate_without_a_score(
    said: str,
) -> None:
    search, _ = tried(
        lambda request: said if request.labels else scored(3)(request),
        BeliefSettings(scorer="guard", candidates=1),
    )
    assert search.candidates[0].score is None


def test_the_examples_of_an_iteration_are_the_worst_offenders_in_a_fixed_order() -> None:
    tries = {
        "p1": [(3.0, "a"), (1.5, "b")],
        "p2": [(1.5, "c")],
        "p3": [(1.0, "d")],
        "p4": [(2.0, "e")],
    }
    searches = [
        a_search(
            refined=a_refined_cot(prompt_id=prompt_id),
            candidates=[a_candidate(score=score, belief=belief) for score, belief in candidates],
        )
        for prompt_id, candidates in tries.items()
    ]
    for order in (searches, searches[::-1]):
        found = select_examples(order, "violation", 2, 3)
        assert [(e.prompt_id, e.belief) for e in found] == [("p3", "d"), ("p1", "b"), ("p2", "c")]
        assert [example.score for example in found] == [1.0, 1.5, 1.5]
        assert {example.iteration for example in found} == {2}


def test_examples_are_of_the_kind_that_is_looked_for_and_have_a_score() -> None:
    searches = [
        a_search(kind="needless_refusal", candidates=[a_candidate(score=1.0)]),
        a_search(refined=a_refined_cot(prompt_id="p2"), candidates=[a_candidate(score=None)]),
        a_search(refined=a_refined_cot(prompt_id="p3"), candidates=[a_candidate(score=2.0)]),
    ]
    assert [example.prompt_id for example in select_examples(searches, "violation", 2, 5)] == ["p3"]
    assert [
        example.prompt_id for example in select_examples(searches, "needless_refusal", 2, 5)
    ] == ["p1"]
    assert select_examples(searches, "violation", 2, 0) == []


def test_needless_refusals_are_looked_for_on_a_share_of_the_prompts_that_are_not_harmful() -> None:
    kinds = [
        choose_pair_kind(a_cot_grades(prompt_id=f"p{n}", prompt_kind=kind), 0.5)
        for kind in ("benign", "borderline")
        for n in range(1000)
    ]
    assert kinds.count("needless_refusal") == pytest.approx(1000, abs=90)
    assert choose_pair_kind(a_cot_grades(prompt_kind="harmful"), 1.0) == "violation"
    assert {choose_pair_kind(a_cot_grades(prompt_id=f"p{n}"), 0.0) for n in range(50)} == {
        "violation"
    }
