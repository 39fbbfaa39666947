"""The ear-whisperer and the target of the rehearsal engine, in the recipe's search for beliefs."""

from collections import defaultdict
from dataclasses import replace
from functools import cache
from statistics import fmean

import pytest

from aidsafe_dagster.engines.rehearsal.beliefs import belief_strength, misled_strength
from aidsafe_dagster.engines.rehearsal.faults import Fault, RehearsalSettings
from aidsafe_dagster.engines.rehearsal.judges import refusal_of
from aidsafe_dagster.recipe.beliefs import BeliefSearch, TargetInputs
from aidsafe_dagster.recipe.pair_floors import similarity
from aidsafe_dagster.recipe.preference_pairs import PairSettings
from aidsafe_dagster.recipe.records import Failure, FailureReason, PreferencePair, Role
from aidsafe_dagster.recipe.target_answer import TargetAnswer, read_target_answer
from tests.engines.rehearsal.rehearsing import FAULTLESS, FAULTY, Rehearsal, reason_of

NOISELESS = FAULTLESS.model_copy(update={"judge_noise": 0.0})


@cache
def default_searches() -> tuple[tuple[BeliefSearch, PreferencePair | Failure], ...]:
    """Searches under the default settings, and what they came to."""
    rehearsal = Rehearsal(RehearsalSettings())
    searches = [rehearsal.search(row) for row in rehearsal.refinements(140)]
    return tuple(zip(searches, rehearsal.pair(searches), strict=True))


def target_answers(
    rehearsal: Rehearsal, *, with_belief: bool
) -> list[tuple[TargetInputs, TargetAnswer]]:
    """What the target was asked, and its answers."""
    answers = []
    for request in rehearsal.requests:
        if request.role is Role.TARGET and bool(request.inputs.belief) == with_belief:
            text = rehearsal.answer(request)
            answer = read_target_answer(text, "", request.inputs.prompt.prompt)
            answers.append((request.inputs, answer))
    return answers


def text_of(answer: TargetAnswer) -> str:
    return f"{' '.join(answer.thoughts)} {answer.response}"


def test_pairs_lack_contrast_where_planted() -> None:
    rehearsal = Rehearsal(FAULTY.model_copy(update={"unparsable": 0.0}))
    rows = rehearsal.refinements(80)
    pairs = rehearsal.pair([rehearsal.search(row) for row in rows])
    planted = {
        answer.prompt_id
        for answer in rehearsal.planted
        if Fault.WHISPER_FAILS in answer.faults
    }
    for row, pair in zip(rows, pairs, strict=True):
        lacks_contrast = reason_of(pair) is FailureReason.NO_CONTRAST
        assert lacks_contrast == (row.prompt_id in planted)
    assert {reason_of(pair) for pair in pairs} >= {None, FailureReason.NO_CONTRAST}


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
        beliefs = [
            candidate.belief for candidate in search.candidates if candidate.belief
        ]
        assert len(set(beliefs)) == len(beliefs)


def test_the_firmer_a_belief_the_more_it_misleads() -> None:
    rehearsal = Rehearsal(NOISELESS)
    searches = [rehearsal.search(row) for row in rehearsal.refinements(60)]
    rehearsal.pair(searches, PairSettings(good_enough=1))
    answers = target_answers(rehearsal, with_belief=True)
    assert {belief_strength(inputs.belief) for inputs, _ in answers} == {0, 1, 2, 3}
    for inputs, answer in answers:
        assert misled_strength(answer.response) == belief_strength(inputs.belief)


def test_a_stubborn_target_answers_as_without_a_belief_and_makes_no_pair() -> None:
    rehearsal = Rehearsal(NOISELESS.model_copy(update={"stubborn": 1.0}))
    pairs = rehearsal.pair([rehearsal.search(row) for row in rehearsal.refinements(20)])
    for _, answer in target_answers(rehearsal, with_belief=True):
        assert misled_strength(answer.response) == 0
    reasons = {reason_of(pair) for pair in pairs}
    assert FailureReason.REJECTED_ABOVE_SCORE in reasons
    assert reasons <= {
        FailureReason.REJECTED_ABOVE_SCORE,
        FailureReason.REJECTED_ANSWERS,
        FailureReason.MARGIN_TOO_SMALL,
    }


def test_a_needless_refusal_refuses_and_a_violation_of_a_fair_question_does_not() -> (
    None
):
    for _, pair in default_searches():
        if (
            isinstance(pair, Failure)
            or pair.prompt_kind == "harmful"
            or pair.rejected_score >= 2
        ):
            continue
        refuses = refusal_of(pair.rejected_response) == "full"
        assert refuses == (pair.kind == "needless_refusal")


def test_two_plain_answers_differ_in_words_and_hardly_in_score() -> None:
    rehearsal = Rehearsal(NOISELESS)
    settings = PairSettings(plain_share=1.0)
    searches = [rehearsal.search(row) for row in rehearsal.refinements(40)]
    pairs = rehearsal.pair(searches, settings)
    assert all(
        isinstance(pair, PreferencePair) and len(pair.plain_scores) == 2
        for pair in pairs
    )
    texts = [
        text_of(answer) for _, answer in target_answers(rehearsal, with_belief=False)
    ]
    alike = [
        similarity(one, other)
        for one, other in zip(texts[::2], texts[1::2], strict=True)
    ]
    assert sum(share == 1 for share in alike) <= 1
    for pair in pairs:
        assert isinstance(pair, PreferencePair)
        assert abs(pair.plain_scores[0] - pair.plain_scores[1]) < 0.5


def test_a_plain_answer_names_no_policy() -> None:
    rehearsal = Rehearsal(NOISELESS)
    searches = [rehearsal.search(row) for row in rehearsal.refinements(20)]
    rehearsal.pair(searches, PairSettings(plain_share=1.0))
    titles = [
        policy.title.casefold()
        for policy in rehearsal.dialogue_context.policies.policies
    ]
    for _, answer in target_answers(rehearsal, with_belief=False):
        text = text_of(answer).casefold()
        assert not any(title in text for title in titles), text


@pytest.mark.parametrize(
    "belief", ["Rules are for other people.", "🔥", "{gist} {policy}", "You"]
)
def test_a_belief_in_other_words_is_answered_too(belief: str) -> None:
    rehearsal = Rehearsal(FAULTLESS)
    rehearsal.pair([rehearsal.search(rehearsal.refinements(1)[0])])
    request = next(
        request for request in rehearsal.requests if request.role is Role.TARGET
    )
    other = replace(request, inputs=replace(request.inputs, belief=belief))
    assert read_target_answer(rehearsal.answer(other), "", "").thoughts
    assert belief_strength(belief) in range(4)


def test_a_row_without_contrast_gets_through_when_it_is_made_again() -> None:
    rehearsal = Rehearsal(FAULTLESS.model_copy(update={"whisper_fails": 1.0}))
    rows = rehearsal.refinements(10)
    failed = rehearsal.pair([rehearsal.search(row) for row in rows])
    assert {reason_of(pair) for pair in failed} == {FailureReason.NO_CONTRAST}
    searches = []
    for row, pair in zip(rows, failed, strict=True):
        assert isinstance(pair, Failure)
        searches.append(rehearsal.search(row, redraws=pair.redraws))
    pairs = rehearsal.pair(searches)
    assert sum(isinstance(pair, PreferencePair) for pair in pairs) >= 7
