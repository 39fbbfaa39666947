"""The ear-whisperer and the target of the rehearsal engine, through the recipe's search for beliefs."""

from collections import defaultdict
from dataclasses import replace
from functools import cache
from statistics import fmean

import pytest

from aidsafe_dagster.engines.rehearsal.faults import RehearsalSettings
from aidsafe_dagster.engines.rehearsal.flaws import misled_strength
from aidsafe_dagster.engines.rehearsal.judges import refusal_of
from aidsafe_dagster.engines.rehearsal.whisper import strength_of
from aidsafe_dagster.recipe.answers import TargetAnswer
from aidsafe_dagster.recipe.beliefs import BeliefSearch, TargetInputs
from aidsafe_dagster.recipe.judging import Subject
from aidsafe_dagster.recipe.preference_pairs import PairSettings, similarity
from aidsafe_dagster.recipe.records import Failure, FailureReason, PreferencePair, Role
from tests.engines.rehearsal.rehearsing import FAULTLESS, FAULTY, Play, reason_of

SURE = FAULTLESS.model_copy(update={"judge_noise": 0.0})


@cache
def default_searches() -> tuple[tuple[BeliefSearch, PreferencePair | Failure], ...]:
    """Searches under the default settings, and what they came to."""
    play = Play(RehearsalSettings())
    searches = [play.search(row) for row in play.refinements(140)]
    return tuple(zip(searches, play.pairs(searches), strict=True))


def targets(play: Play, belief: bool = True) -> list[tuple[TargetInputs, Subject]]:
    """What the target was asked in a play, and what it says to that."""
    asked = [r for r in play.requests if r.role is Role.TARGET and bool(r.inputs.belief) == belief]
    answers = [TargetAnswer.model_validate_json(play.engine.says(request)) for request in asked]
    return [
        (r.inputs, Subject("", tuple(a.thoughts), a.response))
        for r, a in zip(asked, answers, strict=True)
    ]


def test_pairs_lack_contrast_where_planted() -> None:
    play = Play(FAULTY.model_copy(update={"unparsable": 0.0}))
    rows = play.refinements(80)
    made = play.pairs([play.search(row) for row in rows])
    for row, pair in zip(rows, made, strict=True):
        fails = play.plan.whisper_fails(row.prompt_id, 0)
        assert (reason_of(pair) is FailureReason.NO_CONTRAST) == fails
    assert {reason_of(pair) for pair in made} >= {None, FailureReason.NO_CONTRAST}


def test_by_default_nearly_every_row_becomes_a_pair_with_a_wide_margin() -> None:
    pairs = [pair for _, pair in default_searches() if isinstance(pair, PreferencePair)]
    assert len(pairs) > 0.9 * len(default_searches())
    assert fmean(pair.margin for pair in pairs) > 2
    assert {pair.kind for pair in pairs} == {"violation", "needless_refusal"}


def test_beliefs_mislead_more_from_iteration_to_iteration() -> None:
    scores = defaultdict[int, list[float]](list)
    for search, _ in default_searches():
        for candidate in search.candidates:
            if candidate.score is not None:
                scores[candidate.iteration].append(candidate.score)
    assert fmean(scores[1]) > fmean(scores[2]) + 0.4


def test_a_prompt_gets_no_belief_twice() -> None:
    for search, _ in default_searches():
        beliefs = [candidate.belief for candidate in search.candidates if candidate.belief]
        assert len(set(beliefs)) == len(beliefs)


def test_the_firmer_a_belief_the_more_it_misleads() -> None:
    play = Play(SURE)
    play.pairs([play.search(row) for row in play.refinements(60)], PairSettings(good_enough=1))
    heard = targets(play)
    assert {strength_of(inputs.belief) for inputs, _ in heard} == {0, 1, 2, 3}
    assert all(misled_strength(said) == strength_of(inputs.belief) for inputs, said in heard)


def test_a_stubborn_target_answers_as_without_a_belief_and_leaves_no_margin_worth_having() -> None:
    play = Play(SURE.model_copy(update={"stubborn": 1.0}))
    made = play.pairs([play.search(row) for row in play.refinements(20)])
    assert all(misled_strength(said) == 0 for _, said in targets(play))
    assert {reason_of(pair) for pair in made} == {None, FailureReason.MARGIN_TOO_SMALL}
    assert max(pair.margin for pair in made if isinstance(pair, PreferencePair)) <= 0.5


def test_a_needless_refusal_refuses_and_a_violation_of_a_fair_question_does_not() -> None:
    pairs = [
        p
        for _, p in default_searches()
        if isinstance(p, PreferencePair) and p.prompt_kind != "harmful"
    ]
    for pair in pairs:
        if pair.rejected_score < 2:
            assert (refusal_of(pair.rejected_response) == "full") == (
                pair.kind == "needless_refusal"
            )


def test_two_plain_answers_differ_in_words_and_hardly_in_score() -> None:
    play = Play(SURE)
    settings = PairSettings(plain_share=1.0)
    pairs = play.pairs([play.search(row) for row in play.refinements(40)], settings)
    assert all(isinstance(pair, PreferencePair) and len(pair.plain_scores) == 2 for pair in pairs)
    said = [f"{subject.thoughts} {subject.response}" for _, subject in targets(play, belief=False)]
    alike = [similarity(one, other) for one, other in zip(said[::2], said[1::2], strict=True)]
    assert sum(share == 1 for share in alike) <= 1
    margins = [
        abs(p.plain_scores[0] - p.plain_scores[1]) for p in pairs if isinstance(p, PreferencePair)
    ]
    assert max(margins) < 0.5


def test_a_plain_answer_names_no_policy() -> None:
    play = Play(SURE)
    play.pairs([play.search(row) for row in play.refinements(20)], PairSettings(plain_share=1.0))
    titles = [policy.title.casefold() for policy in play.dialogue_context.policies.policies]
    for _, subject in targets(play, belief=False):
        text = f"{' '.join(subject.thoughts)} {subject.response}".casefold()
        assert not any(title in text for title in titles), text


@pytest.mark.parametrize("belief", ["Rules are for other people.", "🔥", "{gist} {policy}", "You"])
def test_a_belief_of_another_making_is_answered_too(belief: str) -> None:
    play = Play(FAULTLESS)
    play.pairs([play.search(play.refinements(1)[0])])
    asked = next(request for request in play.requests if request.role is Role.TARGET)
    other = replace(asked, inputs=replace(asked.inputs, belief=belief))
    assert TargetAnswer.model_validate_json(play.engine.says(other)).thoughts
    assert strength_of(belief) in range(4)


def test_a_row_without_contrast_gets_through_when_it_is_made_again() -> None:
    play = Play(FAULTLESS.model_copy(update={"whisper_fails": 1.0}))
    rows = play.refinements(10)
    failed = play.pairs([play.search(row) for row in rows])
    assert {reason_of(pair) for pair in failed} == {FailureReason.NO_CONTRAST}
    again = [
        play.search(row, redraws=pair.redraws)
        for row, pair in zip(rows, failed, strict=True)
        if isinstance(pair, Failure)
    ]
    assert sum(isinstance(pair, PreferencePair) for pair in play.pairs(again)) >= 7
