"""Round tables of the rehearsal engine come out as the plan says, and their thoughts keep their authors."""

from collections import Counter

import pytest

from aidsafe_dagster.engines.rehearsal.calls import deliberation_truth
from aidsafe_dagster.engines.rehearsal.reading import declines
from aidsafe_dagster.engines.rehearsal.truth import refined_truth
from aidsafe_dagster.recipe.deliberated_cots import DeliberationSettings
from aidsafe_dagster.recipe.records import DeliberatedCot, FailureReason, RefinedCot, Role
from tests.engines.rehearsal.rehearsing import FAULTLESS, FAULTY, Play, its, prompts, reason_of


@pytest.mark.parametrize(("agents", "max_rounds"), [(3, 3), (1, 2), (5, 1)])
def test_a_round_table_fails_stalls_and_ends_where_planted(agents: int, max_rounds: int) -> None:
    play, seen = Play(FAULTY), Counter[object]()
    settings = DeliberationSettings(style="round_table", agents=agents, max_rounds=max_rounds)
    for row in play.seeds():
        truth = deliberation_truth(
            play.plan, row.prompt_id, settings, declines=declines(row.intents)
        )
        done = play.at_table(row, agents, max_rounds)
        assert (reason_of(done), done.usage.calls) == (truth.failure, truth.calls)
        if isinstance(done, DeliberatedCot):
            assert (done.stalled, len(done.turns)) == (truth.stalled, truth.turns)
            assert (done.outcome == "consensus") == truth.agreed
            seen[done.outcome] += 1
        seen[truth.failure] += 1
    assert {
        None,
        FailureReason.UNPARSABLE,
        FailureReason.REFUSED_TO_DELIBERATE,
        "consensus",
        "budget",
    } <= seen.keys()


def test_the_refiner_judges_thoughts_of_a_round_table_as_planted() -> None:
    play, planted = Play(FAULTY), Counter[str]()
    for seed in play.seeds()[:120]:
        row = play.at_table(seed)
        done = play.refine(row) if isinstance(row, DeliberatedCot) else row
        if isinstance(done, RefinedCot):
            truth = refined_truth(
                play.plan, row.prompt_id, done.deliberated_thoughts, done.applicable_policies
            )
            assert {j.thought: j.verdict for j in done.judgements} == truth.judged
            planted.update(truth.planted.values())
    assert len(planted) == 5


def test_a_planted_thought_of_a_round_table_says_something_else_than_a_sound_one() -> None:
    sound, planted = Play(FAULTLESS), Play(FAULTLESS.model_copy(update={"deceptive": 1.0}))
    for prompt in prompts()[:30]:
        row = its(sound.seed(prompt))
        one, other = its(sound.at_table(row)), its(planted.at_table(row))
        said = {thought.text for thought in one.thoughts if thought.round}
        assert said.isdisjoint(thought.text for thought in other.thoughts if thought.round)


def test_the_moderator_keeps_every_thought_once_under_the_name_of_its_author() -> None:
    play = Play(FAULTLESS)
    for prompt in prompts()[:40]:
        row = its(play.at_table(its(play.seed(prompt))))
        offered = [
            (thought.thought, f"deliberator_{opinion.number}")
            for request in play.requests
            if request.role is Role.MODERATOR and request.prompt_id == prompt.prompt_id
            for opinion in request.inputs.opinions
            for thought in opinion.answer.thoughts
        ]
        texts = [text for text, _ in offered]
        once = [offer for place, offer in enumerate(offered) if offer[0] not in texts[:place]]
        assert [(thought.text, thought.agent) for thought in row.thoughts if thought.round] == once


def test_the_response_of_a_round_table_has_what_each_reviewer_mended() -> None:
    play = Play(FAULTLESS)
    rows = [its(play.at_table(its(play.seed(prompt)))) for prompt in prompts()[:40]]
    for request in (request for request in play.requests if request.role is Role.MODERATOR):
        inputs = request.inputs
        merged = next(row for row in rows if row.prompt_id == request.prompt_id).response
        for opinion in inputs.opinions:
            assert opinion.answer.response.removeprefix(inputs.response).strip() in merged


def test_reviewers_at_one_table_make_different_moves() -> None:
    play = Play(FAULTLESS)
    for prompt in prompts()[:40]:
        row = its(play.at_table(its(play.seed(prompt)), max_rounds=1))
        texts = [thought.text for thought in row.thoughts if thought.round]
        assert len(set(texts)) == len(texts)
