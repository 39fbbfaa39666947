import json
from typing import Any

import pytest

from aidsafe_dagster.recipe.bad_text import ACCEPT_ALL, BadTextSettings
from aidsafe_dagster.recipe.dialogue import Conversation, Request
from aidsafe_dagster.recipe.errors import RowFailed
from aidsafe_dagster.recipe.records import (
    FailureReason,
    RefinedCot,
    Stage,
    ThoughtVerdict,
)
from aidsafe_dagster.recipe.refined_cots import refine
from tests.builders import a_deliberated_cot
from tests.recipe.scripted_model import (
    a_dialogue_context,
    message_text,
    run_dialogue,
)

DELIBERATED = a_deliberated_cot()
BAD_TEXT = BadTextSettings(require_policy_coverage=False)


def answer(verdicts: list[str], thoughts: list[dict[str, Any]]) -> str:
    judgements = [
        {"verdict": verdict, "reason": f"It is {verdict}."} for verdict in verdicts
    ]
    return json.dumps(
        {"judgements": judgements, "thoughts": thoughts, "response": "Done."}
    )


def thought(*origins: int) -> dict[str, Any]:
    text = f"Final, after {origins}."
    return {"thought": text, "rules": ["illegal.1"], "origins": list(origins)}


def run_refiner(
    text: str, bad_text: BadTextSettings = BAD_TEXT
) -> tuple[RefinedCot, list[Request]]:
    conversation = Conversation(
        a_dialogue_context(bad_text=bad_text), Stage.REFINED_COTS, DELIBERATED
    )
    dialogue = refine(conversation, DELIBERATED)
    return run_dialogue(dialogue, lambda _: text)


def test_every_deliberated_thought_gets_a_verdict_and_a_reason() -> None:
    row, _ = run_refiner(
        answer(["keep", "deceptive", "policy_inconsistent"], [thought(1)])
    )
    assert [(j.thought, j.verdict, j.reason) for j in row.judgements] == [
        (1, ThoughtVerdict.KEEP, "It is keep."),
        (2, ThoughtVerdict.DECEPTIVE, "It is deceptive."),
        (3, ThoughtVerdict.POLICY_INCONSISTENT, "It is policy_inconsistent."),
    ]


def test_a_final_thought_names_its_origins() -> None:
    row, _ = run_refiner(answer(["keep"] * 3, [thought(1, 3), thought(2)]))
    assert [t.origins for t in row.thoughts] == [(1, 3), (2,)]
    assert not row.rests_on_dropped


def test_a_final_thought_that_rests_on_dropped_ones_alone_is_marked() -> None:
    text = answer(["keep", "redundant", "keep"], [thought(1), thought(2)])
    row, _ = run_refiner(text, bad_text=ACCEPT_ALL)
    assert row.rests_on_dropped


def test_the_refiner_is_asked_again_for_a_thought_that_rests_on_dropped_ones() -> None:
    text = answer(["keep", "redundant", "keep"], [thought(1), thought(2)])
    with pytest.raises(RowFailed, match="'thought 2' is made from thoughts") as failed:
        run_refiner(text)
    assert failed.value.reason is FailureReason.BAD_TEXT


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (answer(["keep"], [thought(1)]), "3 are due"),
        (answer(["keep"] * 3, [thought(9)]), "9 is more than 3"),
        (answer(["drop"] * 3, [thought(1)]), "judgements.0.verdict"),
    ],
)
def test_an_answer_that_does_not_fit_the_thoughts_fails_the_row(
    text: str, message: str
) -> None:
    with pytest.raises(RowFailed) as failed:
        run_refiner(text)
    assert failed.value.reason is FailureReason.UNPARSABLE
    assert message in failed.value.detail


def test_the_refiner_is_asked_again_for_a_policy_that_no_final_thought_covers() -> None:
    text = answer(["keep"] * 3, [thought(1)])
    with pytest.raises(RowFailed, match="no final thought has a rule of") as failed:
        run_refiner(text, BadTextSettings())
    assert failed.value.reason is FailureReason.POLICY_NOT_COVERED
    assert set(DELIBERATED.applicable_policies) - {"illegal"}


def test_the_refiner_is_asked_again_where_it_speaks_of_agents() -> None:
    talk = {"thought": "Agent 2 said that it is fraud.", "rules": [], "origins": [1]}
    with pytest.raises(RowFailed, match="says 'Agent 2'") as failed:
        run_refiner(answer(["keep"] * 3, [talk]))
    assert failed.value.reason is FailureReason.AGENT_TALK


def test_the_refiner_sees_all_thoughts_with_their_numbers_and_rules() -> None:
    _, requests = run_refiner(answer(["keep"] * 3, [thought(1)]))
    task = requests[0].messages[-1].content
    for shown in DELIBERATED.thoughts:
        rules = ", ".join(shown.rules)
        assert f"[{shown.number}: {rules}] {shown.text}" in task


def test_the_refiner_is_shown_nobody_s_words_as_its_own() -> None:
    row, requests = run_refiner(answer(["keep"] * 3, [thought(1)]))
    assert [message.role for message in requests[0].messages] == ["system", "user"]
    assert all(
        turn.comment not in message_text(requests[0]) for turn in DELIBERATED.turns
    )
    assert row.conversation[: len(DELIBERATED.conversation)] == DELIBERATED.conversation
    assert [message.role for message in row.conversation[-2:]] == ["user", "assistant"]
