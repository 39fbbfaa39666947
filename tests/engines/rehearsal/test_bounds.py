"""Whatever the policies, bounds and prompts are: the rehearsal engine answers in a way that the recipe can use."""

import pytest

from aidsafe_dagster.engines.rehearsal.faults import RehearsalSettings
from aidsafe_dagster.recipe.answers import AnswerBounds
from aidsafe_dagster.recipe.cot_grades import Versions
from aidsafe_dagster.recipe.policies import Policies, Policy
from aidsafe_dagster.recipe.preference_pairs import PairSettings
from aidsafe_dagster.recipe.records import CotGrades, FailureReason, RefinedCot
from aidsafe_dagster.recipe.row_gate import uncovered
from tests.engines.rehearsal.rehearsing import FAULTLESS, FAULTY, Play, its, prompts, reason_of

TIGHT = AnswerBounds(comment_chars=25, thought_chars=60, response_chars=80, thoughts=2)


def team(count: int, applies: str) -> Policies:
    """Policies of somebody else, with rules numbered in a way of their own."""
    rules = {
        "7": "Never promise {a refund} before the <form> is in.",
        "12": "Say what the form is for.",
    }
    return Policies(
        policies=tuple(
            Policy(
                id=f"House_Rule{n}",
                title=f"Refunds, part {n}",
                purpose="{{ why }}",
                applies=applies,
                rules=rules,
            )
            for n in range(count)
        )
    )


def every_stage(play: Play, number: int) -> tuple[RefinedCot, CotGrades]:
    """One prompt through all stages, in both styles of deliberation."""
    prompt = prompts()[number]
    alone, seed = its(play.think(prompt)), its(play.seed(prompt))
    its(play.refine(its(play.at_table(seed))))
    deliberated = its(play.deliberate(seed))
    refined = its(play.refine(deliberated))
    return refined, its(play.grade(Versions(refined, deliberated, alone)))


@pytest.mark.parametrize(
    "bounds", [TIGHT, AnswerBounds(thoughts=1), AnswerBounds(thought_chars=1, comment_chars=1)]
)
def test_answers_keep_to_the_bounds_that_a_person_chose(bounds: AnswerBounds) -> None:
    play = Play(FAULTLESS, bounds=bounds)
    for number in (0, 40, 100, *range(216, 230)):
        refined, grades = every_stage(play, number)
        assert not grades.ungraded
        assert len(refined.response) <= bounds.response_chars
        assert all(len(thought.text) <= bounds.thought_chars for thought in refined.thoughts)
        assert len(refined.thoughts) <= 2 * bounds.thoughts


@pytest.mark.parametrize("scorer", ["judge", "guard"])
def test_pairs_are_made_within_tight_bounds(scorer: str) -> None:
    play = Play(FAULTLESS, bounds=TIGHT)
    searches = [
        play.search(every_stage(play, number)[0]) for number in (0, 40, 100, *range(216, 230))
    ]
    made = play.pairs(searches, PairSettings(scorer=scorer))
    assert {reason_of(pair) for pair in made} <= {
        None,
        FailureReason.MARGIN_TOO_SMALL,
        FailureReason.NO_CONTRAST,
    }


@pytest.mark.parametrize("count", [1, 30])
@pytest.mark.parametrize("applies", ["always", "when_relevant"])
def test_it_plays_every_part_under_the_policies_of_another_team(count: int, applies: str) -> None:
    play = Play(FAULTLESS, team(count, applies))
    searches = []
    for number in (0, 40, 100, 219):
        refined, grades = every_stage(play, number)
        assert not grades.ungraded
        searches.append(play.search(refined))
    assert {reason_of(pair) for pair in play.pairs(searches)} == {None}


def test_odd_prompts_come_to_the_same_ends_as_others() -> None:
    play = Play(RehearsalSettings(unparsable=0, refusal=0))
    refined = [every_stage(play, number)[0] for number in range(216, 230)]
    assert len(play.pairs([play.search(row) for row in refined])) == 14


def test_the_same_request_gets_the_same_words_and_another_seed_others() -> None:
    one, same, other = Play(FAULTY), Play(FAULTY), Play(FAULTY.model_copy(update={"seed": 1}))
    for play in (one, same, other):
        play.pairs([play.search(row) for row in play.refinements(12)])
    said = [[play.engine.says(request) for request in one.requests] for play in (one, same, other)]
    assert said[0] == said[1]
    assert sum(a == b for a, b in zip(said[0], said[2], strict=True)) < 0.3 * len(said[0])


def test_fewer_thoughts_still_cover_every_policy() -> None:
    play = Play(FAULTLESS, bounds=AnswerBounds(thoughts=2))
    for number in (0, 40, 100):
        seed = its(play.seed(prompts()[number]))
        refined, _ = every_stage(play, number)
        assert len(seed.thoughts) <= 2
        assert (
            uncovered(seed, play.dialogue_context.policies)
            == uncovered(refined, play.dialogue_context.policies)
            == ()
        )
