"""Any policies, bounds and prompts: the recipe can use what the rehearsal engine answers."""

from typing import Literal

import pytest

from aidsafe_dagster.engines.rehearsal.faults import RehearsalSettings
from aidsafe_dagster.recipe.answers import AnswerBounds
from aidsafe_dagster.recipe.cot_grades import Versions
from aidsafe_dagster.recipe.policies import Policies, Policy
from aidsafe_dagster.recipe.preference_pairs import PairSettings
from aidsafe_dagster.recipe.records import CotGrades, FailureReason, RefinedCot
from aidsafe_dagster.recipe.row_gate import uncovered
from tests.engines.rehearsal.rehearsing import (
    FAULTLESS,
    FAULTY,
    ORDINARY,
    Rehearsal,
    prompts,
    reason_of,
    succeeded,
)

TIGHT = AnswerBounds(comment_chars=25, thought_chars=60, response_chars=80, thoughts=2)
ODD = range(ORDINARY, ORDINARY + 14)
SAMPLE = (0, 40, 100, *ODD)
"""Numbers of prompts."""


def refund_policies(
    count: int, applies: Literal["always", "when_relevant"]
) -> Policies:
    """Policies of another team, with rules numbered in a way of their own."""
    rules = {
        "7": "Never promise {a refund} before the <form> is in.",
        "12": "Say what the form is for.",
    }
    policies = []
    for number in range(count):
        policy = Policy(
            id=f"House_Rule{number}",
            title=f"Refunds, part {number}",
            purpose="{{ why }}",
            applies=applies,
            rules=rules,
        )
        policies.append(policy)
    return Policies(policies=tuple(policies))


def run_all_stages(rehearsal: Rehearsal, number: int) -> tuple[RefinedCot, CotGrades]:
    """One prompt through all stages, in both styles of deliberation."""
    prompt = prompts()[number]
    alone, seed = succeeded(rehearsal.think(prompt)), succeeded(rehearsal.seed(prompt))
    succeeded(rehearsal.refine(succeeded(rehearsal.deliberate_at_table(seed))))
    deliberated = succeeded(rehearsal.deliberate(seed))
    refined = succeeded(rehearsal.refine(deliberated))
    return refined, succeeded(rehearsal.grade(Versions(refined, deliberated, alone)))


@pytest.mark.parametrize(
    "bounds",
    [TIGHT, AnswerBounds(thoughts=1), AnswerBounds(thought_chars=1, comment_chars=1)],
)
def test_answers_keep_to_the_bounds_that_a_person_chose(bounds: AnswerBounds) -> None:
    rehearsal = Rehearsal(FAULTLESS, bounds=bounds)
    for number in SAMPLE:
        refined, grades = run_all_stages(rehearsal, number)
        assert not grades.ungraded
        assert len(refined.response) <= bounds.response_chars
        assert all(
            len(thought.text) <= bounds.thought_chars for thought in refined.thoughts
        )
        assert len(refined.thoughts) <= 2 * bounds.thoughts


@pytest.mark.parametrize("scorer", ["judge", "guard"])
def test_pairs_are_made_within_tight_bounds(scorer: str) -> None:
    rehearsal = Rehearsal(FAULTLESS, bounds=TIGHT)
    searches = [
        rehearsal.search(run_all_stages(rehearsal, number)[0]) for number in SAMPLE
    ]
    pairs = rehearsal.pair(searches, PairSettings.model_validate({"scorer": scorer}))
    assert {reason_of(pair) for pair in pairs} <= {
        None,
        FailureReason.MARGIN_TOO_SMALL,
        FailureReason.NO_CONTRAST,
        # Cut so short, some answers are not faithful enough, and some not bad enough.
        FailureReason.CHOSEN_BELOW_SCORE,
        FailureReason.REJECTED_ABOVE_SCORE,
        FailureReason.REJECTED_ANSWERS,
    }


@pytest.mark.parametrize("count", [1, 30])
@pytest.mark.parametrize("applies", ["always", "when_relevant"])
def test_it_plays_every_role_under_the_policies_of_another_team(
    count: int, applies: Literal["always", "when_relevant"]
) -> None:
    rehearsal = Rehearsal(FAULTLESS, refund_policies(count, applies))
    searches = []
    for number in (0, 40, 100, 219):
        refined, grades = run_all_stages(rehearsal, number)
        assert not grades.ungraded
        searches.append(rehearsal.search(refined))
    assert {reason_of(pair) for pair in rehearsal.pair(searches)} == {None}


def test_odd_prompts_come_to_the_same_ends_as_others() -> None:
    rehearsal = Rehearsal(RehearsalSettings(unparsable=0, refusal=0))
    refined = [run_all_stages(rehearsal, number)[0] for number in ODD]
    assert len(rehearsal.pair([rehearsal.search(row) for row in refined])) == 14


def test_the_same_request_gets_the_same_words_and_another_seed_others() -> None:
    rehearsal, same = Rehearsal(FAULTY), Rehearsal(FAULTY)
    other = Rehearsal(FAULTY.model_copy(update={"seed": 1}))
    rehearsal.pair([rehearsal.search(row) for row in rehearsal.refinements(12)])
    answers = [rehearsal.answer(request) for request in rehearsal.requests]
    assert answers == [same.answer(request) for request in rehearsal.requests]
    others = [other.answer(request) for request in rehearsal.requests]
    alike = sum(one == two for one, two in zip(answers, others, strict=True))
    assert alike < 0.3 * len(answers)


def test_fewer_thoughts_still_cover_every_policy() -> None:
    rehearsal = Rehearsal(FAULTLESS, bounds=AnswerBounds(thoughts=2))
    policies = rehearsal.dialogue_context.policies
    for number in (0, 40, 100):
        seed = succeeded(rehearsal.seed(prompts()[number]))
        refined, _ = run_all_stages(rehearsal, number)
        assert len(seed.thoughts) <= 2
        assert uncovered(seed, policies) == uncovered(refined, policies) == ()
