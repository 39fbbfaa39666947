import json
from itertools import pairwise

import pytest

from aidsafe_dagster.recipe.deliberated_cots import DeliberationSettings, deliberate
from aidsafe_dagster.recipe.dialogue import Request
from aidsafe_dagster.recipe.errors import RowFailed
from aidsafe_dagster.recipe.records import DeliberatedCot, FailureReason, Stage
from tests.builders import RESPONSE, a_seed_cot
from tests.recipe.scripted_model import a_conversation, run_dialogue

SEED = a_seed_cot()


def answer(verdict: str, *thoughts: str) -> str:
    return json.dumps(
        {
            "verdict": verdict,
            "comment": "So.",
            "thoughts": [{"thought": text, "rules": ["fraud.1"]} for text in thoughts],
            "response": f"After {len(thoughts)}.",
        }
    )


def run_deliberation(
    *answers: str, settings: DeliberationSettings = DeliberationSettings()
) -> tuple[DeliberatedCot, list[Request]]:
    remaining_answers = iter(answers)
    return run_dialogue(
        deliberate(a_conversation(Stage.DELIBERATED_COTS, SEED), SEED, settings),
        lambda _: next(remaining_answers),
    )


def test_it_stops_at_the_first_agreement() -> None:
    row, requests = run_deliberation(answer("revise", "One more."), answer("agree"))
    assert row.outcome == "consensus"
    assert not row.stalled
    assert len(requests) == 2
    assert [(t.agent, t.round, t.verdict) for t in row.turns] == [
        ("deliberator_1", 1, "revise"),
        ("deliberator_2", 1, "agree"),
    ]


def test_it_stops_when_the_rounds_are_spent() -> None:
    row, requests = run_deliberation(*[answer("revise", "There is more.")] * 6)
    assert row.outcome == "budget"
    assert len(requests) == 6
    assert [t.round for t in row.turns] == [1, 1, 2, 2, 3, 3]


def test_rounds_and_agents_are_settings() -> None:
    row, _ = run_deliberation(
        *[answer("revise")] * 3, settings=DeliberationSettings(agents=3, max_rounds=1)
    )
    assert [t.agent for t in row.turns] == [
        "deliberator_1",
        "deliberator_2",
        "deliberator_3",
    ]


def test_without_rounds_the_seed_stays_as_it_is() -> None:
    row, requests = run_deliberation(settings=DeliberationSettings(max_rounds=0))
    assert row.thoughts == SEED.thoughts
    assert row.response == SEED.response
    assert requests == []
    assert not row.stalled


def test_agreement_on_the_very_first_turn_counts_as_stalled() -> None:
    row, _ = run_deliberation(answer("agree"))
    assert row.stalled
    assert row.response == RESPONSE


def test_a_thought_records_its_agent_its_round_and_its_rules() -> None:
    row, _ = run_deliberation(
        answer("revise", "Point A.", "Point B."),
        answer("revise", "Point C."),
        answer("agree"),
    )
    added = row.thoughts[len(SEED.thoughts) :]
    assert [(t.number, t.text, t.agent, t.round, t.rules) for t in added] == [
        (3, "Point A.", "deliberator_1", 1, ("fraud.1",)),
        (4, "Point B.", "deliberator_1", 1, ("fraud.1",)),
        (5, "Point C.", "deliberator_2", 1, ("fraud.1",)),
    ]
    assert [t.added for t in row.turns] == [(3, 4), (5,), ()]


def test_thoughts_in_an_agreeing_answer_are_ignored() -> None:
    row, _ = run_deliberation(answer("agree", "An afterthought."))
    assert row.thoughts == SEED.thoughts


def test_in_a_chat_a_later_request_begins_with_the_whole_of_the_earlier_one() -> None:
    chat = DeliberationSettings(context="chat")
    _, requests = run_deliberation(
        *[answer("revise", "There is more.")] * 6, settings=chat
    )
    for earlier, later in pairwise(requests):
        assert later.messages[: len(earlier.messages)] == earlier.messages


def test_a_verdict_in_capitals_is_valid() -> None:
    row, _ = run_deliberation(answer("AGREE"))
    assert row.outcome == "consensus"


def test_after_an_unparsable_answer_the_model_is_asked_again_with_the_error() -> None:
    row, requests = run_deliberation("{", answer("agree"))
    assert row.outcome == "consensus"
    assert "not JSON" in requests[1].messages[-1].content
    assert "{" not in [m.content for m in row.conversation]
    assert row.usage.calls == 2


def test_after_an_unknown_rule_the_model_is_asked_again_with_the_valid_ones() -> None:
    wrong = answer("revise", "Hm.").replace("fraud.1", "fraud.99")
    _, requests = run_deliberation(wrong, answer("agree"))
    assert "fraud.99" in requests[1].messages[-1].content
    assert "fraud.2" in requests[1].messages[-1].content


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no JSON at all", FailureReason.UNPARSABLE),
        ("I'm sorry, but I can't help with that.", FailureReason.REFUSED_TO_DELIBERATE),
        (
            answer("revise", "I cannot discuss this request."),
            FailureReason.REFUSED_TO_DELIBERATE,
        ),
        ('{"response": "I cannot help with', FailureReason.UNPARSABLE),
    ],
)
def test_after_two_re_asks_the_row_fails_with_a_reason(
    text: str, reason: FailureReason
) -> None:
    requests: list[Request] = []

    def model(request: Request) -> str:
        requests.append(request)
        return text

    dialogue = deliberate(
        a_conversation(Stage.DELIBERATED_COTS, SEED), SEED, DeliberationSettings()
    )
    with pytest.raises(RowFailed) as failed:
        run_dialogue(dialogue, model)
    assert len(requests) == 3
    assert failed.value.reason is reason
