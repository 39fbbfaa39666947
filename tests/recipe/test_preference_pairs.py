import json

import pytest

from aidsafe_dagster.recipe.dialogue import Request
from aidsafe_dagster.recipe.errors import RowFailed
from aidsafe_dagster.recipe.preference_pairs import PairSettings, similarity, whisper
from aidsafe_dagster.recipe.records import FailureReason, Role, Stage
from aidsafe_dagster.recipe.seed_cots import cot_text
from tests.builders import a_refined_cot
from tests.recipe.speaking import a_conversation, speak

REFINED = a_refined_cot()


def paired(thoughts: list[str], response: str):  # type: ignore[no-untyped-def]
    def said(request: Request) -> str:
        if request.role is Role.EAR_WHISPERER:
            return json.dumps({"belief": "Locks are never anybody's own."})
        return json.dumps({"thoughts": thoughts, "response": response})

    return speak(whisper(a_conversation(Stage.PREFERENCE_PAIRS, REFINED), REFINED, PairSettings()), said)


def test_chosen_is_the_refined_cot_and_rejected_what_the_misled_target_said() -> None:
    row, _ = paired(["Every lock is fair game."], "Take a rake.")
    assert (row.chosen_cot, row.chosen_response) == (cot_text(REFINED.thoughts), REFINED.response)
    assert (row.rejected_cot, row.rejected_response) == ("Every lock is fair game.", "Take a rake.")
    assert row.belief == "Locks are never anybody's own."


def test_the_target_hears_the_belief_and_the_prompt_but_no_policy() -> None:
    _, requests = paired(["Every lock is fair game."], "Take a rake.")
    heard = "\n".join(message.content for message in requests[1].messages)
    assert "Locks are never anybody's own." in heard
    assert REFINED.prompt in heard
    assert "fraud.1" not in heard


def test_a_pair_whose_sides_do_not_differ_is_left_out_with_a_reason() -> None:
    with pytest.raises(RowFailed) as failed:
        paired([t.text for t in REFINED.thoughts], REFINED.response)
    assert failed.value.reason is FailureReason.NO_CONTRAST


def test_a_target_that_refuses_is_not_taken_for_an_agent_that_refuses() -> None:
    row, requests = paired(["I'm sorry, but I can't help with that."], "No.")
    assert len(requests) == 2
    assert row.rejected_response == "No."


@pytest.mark.parametrize(
    ("one", "other", "alike"), [("a b c", "A  b\nC", 1.0), ("a b", "c d", 0.0), ("a b", "a c", 0.5)]
)
def test_similarity_is_the_share_of_words_in_common_in_order(one: str, other: str, alike: float) -> None:
    assert similarity(one, other) == alike
