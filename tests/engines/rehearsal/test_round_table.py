"""The rehearsal engine at a round table."""

from collections import Counter

import pytest

from aidsafe_dagster.engines.rehearsal.faults import Fault
from aidsafe_dagster.recipe.records import DeliberatedCot, FailureReason, Role, Stage
from tests.engines.rehearsal.rehearsing import (
    FAULTLESS,
    FAULTY,
    Rehearsal,
    prompts,
    reason_of,
    succeeded,
)
from tests.engines.rehearsal.test_rehearsal import planted_reason


@pytest.mark.parametrize(("agents", "max_rounds"), [(3, 3), (1, 2), (5, 1)])
def test_a_round_table_fails_and_stalls_where_planted(
    agents: int, max_rounds: int
) -> None:
    rehearsal, outcomes = Rehearsal(FAULTY), Counter[object]()
    for row in rehearsal.seeds():
        rehearsal.planted.clear()
        result = rehearsal.deliberate_at_table(row, agents, max_rounds)
        faults = rehearsal.faults_of(Stage.DELIBERATED_COTS, result)
        assert reason_of(result) == planted_reason(faults)
        outcomes[reason_of(result)] += 1
        if isinstance(result, DeliberatedCot):
            assert result.stalled == (Fault.STALLED in faults)
            outcomes[result.outcome] += 1
    assert {
        None,
        FailureReason.UNPARSABLE,
        FailureReason.REFUSED_TO_DELIBERATE,
        "consensus",
        "budget",
    } <= outcomes.keys()


def test_the_refiner_recognises_planted_thoughts_of_a_round_table() -> None:
    rehearsal = Rehearsal(
        FAULTY.model_copy(update={"refiner_misses": 0, "over_filtered": 0})
    )
    planted = Counter[object]()
    for seed in rehearsal.seeds()[:120]:
        row = rehearsal.deliberate_at_table(seed)
        refined = rehearsal.refine(row) if isinstance(row, DeliberatedCot) else row
        if reason_of(refined):
            continue
        refined = succeeded(refined)
        for thought, judgement in zip(
            refined.deliberated_thoughts, refined.judgements, strict=True
        ):
            fault = rehearsal.records.thought_fault(row.prompt_id, thought.text)
            planted[fault] += 1
            if fault is not None:
                assert judgement.verdict.value == fault.value
    assert len(planted) == 5


def test_a_planted_thought_of_a_round_table_says_something_else_than_a_sound_one() -> (
    None
):
    sound = Rehearsal(FAULTLESS)
    planted = Rehearsal(FAULTLESS.model_copy(update={"deceptive": 1.0}))
    for prompt in prompts()[:30]:
        row = succeeded(sound.seed(prompt))
        one = succeeded(sound.deliberate_at_table(row))
        other = succeeded(planted.deliberate_at_table(row))
        texts = {thought.text for thought in one.thoughts if thought.round}
        assert texts.isdisjoint(
            thought.text for thought in other.thoughts if thought.round
        )


def test_the_moderator_keeps_every_thought_once_under_the_name_of_its_author() -> None:
    rehearsal = Rehearsal(FAULTLESS)
    for prompt in prompts()[:40]:
        rehearsal.requests.clear()
        row = succeeded(
            rehearsal.deliberate_at_table(succeeded(rehearsal.seed(prompt)))
        )
        author_by_text: dict[str, str] = {}
        for request in rehearsal.requests:
            if request.role is Role.MODERATOR:
                for opinion in request.inputs.opinions:
                    for thought in opinion.answer.thoughts:
                        author_by_text.setdefault(
                            thought.thought, f"deliberator_{opinion.number}"
                        )
        added = [
            (thought.text, thought.agent) for thought in row.thoughts if thought.round
        ]
        assert added == list(author_by_text.items())


def test_the_response_of_a_round_table_has_what_each_reviewer_mended() -> None:
    rehearsal = Rehearsal(FAULTLESS)
    responses = {}
    for prompt in prompts()[:40]:
        row = succeeded(
            rehearsal.deliberate_at_table(succeeded(rehearsal.seed(prompt)))
        )
        responses[row.prompt_id] = row.response
    moderated = [
        request for request in rehearsal.requests if request.role is Role.MODERATOR
    ]
    assert moderated
    for request in moderated:
        for opinion in request.inputs.opinions:
            mend = opinion.answer.response.removeprefix(request.inputs.response).strip()
            assert mend in responses[request.prompt_id]


def test_reviewers_at_one_table_make_different_moves() -> None:
    rehearsal = Rehearsal(FAULTLESS)
    for prompt in prompts()[:40]:
        seed = succeeded(rehearsal.seed(prompt))
        row = succeeded(rehearsal.deliberate_at_table(seed, max_rounds=1))
        texts = [thought.text for thought in row.thoughts if thought.round]
        assert len(set(texts)) == len(texts)
