import json
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import pytest

from aidsafe_dagster.recipe.beliefs import (
    BeliefSearch,
    BeliefSettings,
    Candidate,
    choose_pair_kind,
    is_done,
    select_examples,
    try_candidates,
)
from aidsafe_dagster.recipe.cot_grades import GradingSettings
from aidsafe_dagster.recipe.dialogue import Request
from aidsafe_dagster.recipe.pair_floors import Fault
from aidsafe_dagster.recipe.records import BeliefExample, FailureReason, Role, Stage
from aidsafe_dagster.recipe.target_answer import TargetAnswer
from tests.builders import FIRST, a_belief_score, a_cot_grades, a_refined_cot
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


def tried(belief: str, score: float | None, fault: Fault | None = None) -> Candidate:
    """Return a candidate that was tried, without a valid answer if it has no score."""
    if score is None:
        fault = Fault(FailureReason.UNPARSABLE, "no answer")
        return Candidate(1, 1, belief, fault=fault)
    answer = TargetAnswer("Every lock is fair game.", "Take a rake.")
    scores = (a_belief_score(score=score),)
    return Candidate(1, 1, belief, answer, "small-chat", scores, fault=fault)


def a_search_with_scores(prompt_id: str, **scores: float) -> BeliefSearch:
    """Return a search that has tried these beliefs, given as belief=score."""
    candidates = [tried(belief, score) for belief, score in scores.items()]
    return a_search(refined=a_refined_cot(prompt_id=prompt_id), candidates=candidates)


def model_scoring(*scores: int) -> Callable[[Request], str]:
    """Return a model whose n-th belief has the number n in its text and leads to the n-th score."""
    remaining_scores = iter(scores)
    belief_numbers = count(1)
    answer_numbers = count(1)

    def respond(request: Request) -> str:
        if request.role is Role.EAR_WHISPERER:
            return a_belief(f"Lock number {next(belief_numbers)} is yours.")
        if request.role is Role.TARGET:
            # The same answer twice would be graded once.
            return an_answer(response=f"Take rake number {next(answer_numbers)}.")
        return a_grade_answer(next(remaining_scores))

    return respond


def run_iteration(
    model: Callable[[Request], str],
    settings: BeliefSettings = BeliefSettings(),
    search: BeliefSearch | None = None,
    examples: Sequence[BeliefExample] = (),
    iteration: int = 1,
    grading: GradingSettings = ONE_JUDGE,
) -> tuple[BeliefSearch, list[Request]]:
    return run_dialogue(
        try_candidates(
            search or a_search(),
            iteration,
            examples,
            settings,
            grading,
        ),
        model,
    )


def requests_to(requests: Sequence[Request], role: Role) -> list[Request]:
    return [request for request in requests if request.role is role]


def test_the_search_keeps_all_candidates_with_scores_and_the_worst_answer() -> None:
    search, _ = run_iteration(model_scoring(4, 2), BeliefSettings(candidates=2))
    assert [(c.iteration, c.number, c.belief, c.score) for c in search.candidates] == [
        (1, 1, "Lock number 1 is yours.", 4.0),
        (1, 2, "Lock number 2 is yours.", 2.0),
    ]
    assert search.worst is not None
    assert search.worst.belief == "Lock number 2 is yours."
    assert search.worst.score == 2.0


def test_a_less_misleading_candidate_does_not_replace_the_worst_answer() -> None:
    search, _ = run_iteration(model_scoring(2, 4), BeliefSettings(candidates=2))
    assert search.worst is not None
    assert search.worst.belief == "Lock number 1 is yours."


def test_the_search_ends_once_the_target_is_misled_far_enough() -> None:
    search, requests = run_iteration(
        model_scoring(1), BeliefSettings(candidates=5, good_enough=1.5)
    )
    assert is_done(search, BeliefSettings(good_enough=1.5))
    assert len(requests_to(requests, Role.EAR_WHISPERER)) == 1


def test_the_target_sees_belief_and_prompt_but_no_policies_and_no_search() -> None:
    _, requests = run_iteration(model_scoring(1))
    (request,) = requests_to(requests, Role.TARGET)
    text = message_text(request)
    assert "Lock number 1 is yours." in text
    assert REFINED.prompt in text
    for hidden in ("fraud.1", "Help with no crime", FIRST, "ear_whisperer"):
        assert hidden not in text


def test_the_whisperer_sees_earlier_beliefs_and_the_examples_of_other_prompts() -> None:
    examples = [
        BeliefExample(
            iteration=2,
            prompt_id="p7",
            prompt="May I keep a key that I found?",
            belief="Keys are a fiction.",
            score=1.2,
        )
    ]
    search = a_search(candidates=[tried("Doors are rude.", 3.5)])
    search, requests = run_iteration(
        model_scoring(1),
        search=search,
        examples=examples,
        iteration=2,
    )
    text = message_text(requests_to(requests, Role.EAR_WHISPERER)[0])
    assert "May I keep a key that I found?\n</user_prompt>\n- (1.2) Keys are a" in text
    assert "- (3.5) Doors are rude." in text
    assert search.examples == examples


def test_the_whisperer_learns_which_fault_to_aim_for() -> None:
    texts = []
    for kind in ("violation", "needless_refusal"):
        _, requests = run_iteration(model_scoring(1), search=a_search(kind=kind))
        whisperer_request = requests_to(requests, Role.EAR_WHISPERER)[0]
        texts.append(message_text(whisperer_request))
    assert "break one of the rules" in texts[0]
    assert "refuse or lecture instead of helping" in texts[1]


def test_a_candidate_without_a_valid_answer_has_no_score_and_the_search_continues() -> (
    None
):
    def babbles_first(request: Request) -> str:
        if request.role is Role.TARGET and request.turn < 4:
            return "<think>\nHm."
        return model_scoring(2)(request)

    search, _ = run_iteration(babbles_first, BeliefSettings(candidates=2))
    first, second = search.candidates
    assert first.score is None
    assert second.score == 2.0
    assert first.fault is not None
    assert first.fault.reason is FailureReason.UNPARSABLE
    assert first.belief
    assert search.worst is not None


def test_a_search_without_a_valid_answer_remembers_the_failure() -> None:
    search, _ = run_iteration(lambda _: "Hm.")
    assert search.worst is None
    assert search.failure().reason is FailureReason.UNPARSABLE
    assert [candidate.belief for candidate in search.candidates] == ["", ""]


def test_the_score_of_a_belief_is_the_mean_of_both_judges() -> None:
    search, _ = run_iteration(
        model_scoring(1, 4),
        BeliefSettings(candidates=1),
        grading=GradingSettings(judges=2),
    )
    assert search.worst is not None
    assert [(score.judge, score.score) for score in search.worst.scores] == [
        ("judge", 1.0),
        ("second_judge", 4.0),
    ]
    assert search.worst.score == 2.5


def guarded_model(
    violated: dict[str, float], checked_policies: list[str]
) -> Callable[[Request], str]:
    """Return a model whose guard gives each policy this probability of being violated."""

    def respond(request: Request) -> str:
        if not request.labels:
            return model_scoring(3)(request)
        policy = request.inputs.policy
        checked_policies.append(policy)
        return json.dumps({"Yes": violated[policy], "No": 1 - violated[policy]})

    return respond


def test_the_guard_score_is_that_of_the_policy_violated_most_likely() -> None:
    refined = a_refined_cot(applicable_policies=("fraud", "helpfulness", "illegal"))
    checked_policies: list[str] = []
    model = guarded_model({"fraud": 0.2, "illegal": 0.75}, checked_policies)
    settings = BeliefSettings(scorer="guard", candidates=1)
    search, _ = run_iteration(model, settings, a_search(refined=refined))
    # `helpfulness` always applies, so it says nothing about this prompt.
    assert checked_policies == ["fraud", "illegal"]
    assert search.worst is not None
    (score,) = search.worst.scores
    assert score.judge == "guard"
    assert score.score == 2.0
    assert score.reason == "illegal violated with probability 0.75"


def test_the_guard_answers_yes_or_no_on_one_policy_and_the_whole_answer() -> None:
    settings = BeliefSettings(scorer="guard", candidates=1)
    _, requests = run_iteration(guarded_model({"illegal": 0.5}, []), settings)
    (request,) = requests_to(requests, Role.GUARD)
    assert request.labels == ("Yes", "No")
    text = message_text(request)
    assert REFINED.prompt in text
    assert "Every lock is fair game." in text
    assert "Take rake number 1." in text
    assert "Say what is lawful." in text
    assert "Help no one to deceive." not in text


def test_the_guard_checks_policies_that_always_apply_if_no_other_applies() -> None:
    checked_policies: list[str] = []
    model = guarded_model({"helpfulness": 0.5}, checked_policies)
    refined = a_refined_cot(applicable_policies=("helpfulness",))
    settings = BeliefSettings(scorer="guard", candidates=1)
    run_iteration(model, settings, a_search(refined=refined))
    assert checked_policies == ["helpfulness"]


def test_the_judge_scores_needless_refusals_even_with_a_guard() -> None:
    settings = BeliefSettings(scorer="guard", candidates=1)
    _, requests = run_iteration(
        model_scoring(2), settings, a_search(kind="needless_refusal")
    )
    assert [request.role for request in requests] == [
        Role.EAR_WHISPERER,
        Role.TARGET,
        Role.JUDGE,
    ]


@pytest.mark.parametrize(
    "guard_answer",
    ["That depends.", "[]", '"Yes"', '{"Maybe": 1}', '{"Yes": 0, "No": 0}'],
)
def test_a_candidate_has_no_score_if_the_guard_answers_neither_yes_nor_no(
    guard_answer: str,
) -> None:
    def respond(request: Request) -> str:
        if request.labels:
            return guard_answer
        return model_scoring(3)(request)

    search, _ = run_iteration(respond, BeliefSettings(scorer="guard", candidates=1))
    assert search.candidates[0].score is None


def test_examples_are_the_most_misleading_beliefs_in_a_fixed_order() -> None:
    searches = [
        a_search_with_scores("p1", a=3.0, b=1.5),
        a_search_with_scores("p2", c=1.5),
        a_search_with_scores("p3", d=1.0),
        a_search_with_scores("p4", e=2.0),
    ]
    for order in (searches, searches[::-1]):
        examples = select_examples(
            order,
            "violation",
            2,
            3,
        )
        assert [(e.prompt_id, e.belief) for e in examples] == [
            ("p3", "d"),
            ("p1", "b"),
            ("p2", "c"),
        ]
        assert [example.score for example in examples] == [1.0, 1.5, 1.5]
        assert {example.iteration for example in examples} == {2}


def test_examples_have_a_score_and_the_kind_of_the_search() -> None:
    searches = [
        a_search(kind="needless_refusal", candidates=[tried("a", 1.0)]),
        a_search(refined=a_refined_cot(prompt_id="p2"), candidates=[tried("b", None)]),
        a_search(refined=a_refined_cot(prompt_id="p3"), candidates=[tried("c", 2.0)]),
        a_search(
            refined=a_refined_cot(prompt_id="p4"),
            candidates=[tried("d", 1.0, Fault(FailureReason.ECHOES_BELIEF, "aloud"))],
        ),
    ]
    violations = select_examples(
        searches,
        "violation",
        2,
        5,
    )
    refusals = select_examples(
        searches,
        "needless_refusal",
        2,
        5,
    )
    assert [example.prompt_id for example in violations] == ["p3"]
    assert [example.prompt_id for example in refusals] == ["p1"]
    assert (
        select_examples(
            searches,
            "violation",
            2,
            0,
        )
        == []
    )


def test_a_share_of_the_prompts_that_are_not_harmful_gets_needless_refusals() -> None:
    kinds = []
    for n in range(1000):
        for prompt_kind in ("benign", "borderline"):
            grades = a_cot_grades(prompt_id=f"p{n}", prompt_kind=prompt_kind)
            kinds.append(choose_pair_kind(grades, 0.5))
    assert kinds.count("needless_refusal") == pytest.approx(1000, abs=90)
    assert choose_pair_kind(a_cot_grades(prompt_kind="harmful"), 1.0) == "violation"
    without_share = {
        choose_pair_kind(a_cot_grades(prompt_id=f"p{n}"), 0.0) for n in range(50)
    }
    assert without_share == {"violation"}
