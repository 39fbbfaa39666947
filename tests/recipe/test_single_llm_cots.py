import json
from collections.abc import Callable

import pytest

from aidsafe_dagster.recipe.dialogue import Request
from aidsafe_dagster.recipe.errors import RowFailed
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import FailureReason, Role, SingleLlmCot, Stage
from aidsafe_dagster.recipe.single_llm_cots import answer_directly
from tests.builders import a_prompt, policies
from tests.recipe.scripted_model import (
    a_conversation,
    a_dialogue_context,
    message_text,
    run_dialogue,
)

PROMPT = a_prompt()
THOUGHTS = [
    {"thought": " A lock is no secret. ", "rules": ["helpfulness.1", "helpfulness.1"]},
    {"thought": "So say it.", "rules": []},
]


def run_single_llm(
    answer: str, category: str = "locks"
) -> tuple[SingleLlmCot, list[Request]]:
    prompt = PROMPT.model_copy(update={"category": category})
    conversation = a_conversation(Stage.SINGLE_LLM_COTS, prompt)
    return run_dialogue(answer_directly(conversation, prompt), lambda _: answer)


def test_one_call_yields_thoughts_and_response_under_the_policies_of_the_agents() -> (
    None
):
    row, requests = run_single_llm(
        json.dumps({"thoughts": THOUGHTS, "response": "Like this."})
    )
    assert [request.role for request in requests] == [Role.SINGLE_LLM]
    assert PROMPT.prompt in message_text(requests[0])
    assert requests[0].messages[0] == a_dialogue_context().system
    assert [(t.number, t.text, t.rules, t.agent, t.round) for t in row.thoughts] == [
        (1, "A lock is no secret.", ("helpfulness.1",), "single_llm", 0),
        (2, "So say it.", (), "single_llm", 0),
    ]
    assert row.response == "Like this."
    assert row.usage.calls == 1
    assert row.intents == ()
    assert row.cot_tokens == 8


def always(answer: str) -> Callable[[Request], str]:
    return lambda _: answer


def test_policies_apply_by_category_without_intents() -> None:
    privacy = policies().policies[0].model_copy(update={"categories": ("Scams",)})
    context = a_dialogue_context(
        policies=Policies(policies=(privacy, *policies().policies[1:]))
    )
    answer = json.dumps({"thoughts": THOUGHTS, "response": "Like this."})
    for category, applicable in (
        ("Scams", ("fraud", "helpfulness")),
        ("", ("helpfulness",)),
    ):
        prompt = PROMPT.model_copy(update={"category": category})
        conversation = a_conversation(Stage.SINGLE_LLM_COTS, prompt)
        conversation.context = context
        row, requests = run_dialogue(
            answer_directly(conversation, prompt), lambda _: answer
        )
        assert row.applicable_policies == applicable
        listing = ", ".join(applicable)
        expected = f"each by at least one of its rules: {listing}."
        assert expected in message_text(requests[0])


def test_an_unknown_rule_fails_the_row() -> None:
    answer = json.dumps(
        {"thoughts": [{"thought": "Hm.", "rules": ["law.1"]}], "response": "No."}
    )
    with pytest.raises(RowFailed) as failed:
        run_single_llm(answer)
    assert failed.value.reason is FailureReason.UNPARSABLE
    assert "law.1" in failed.value.detail


def test_a_refusal_to_think_about_the_prompt_fails_the_row() -> None:
    with pytest.raises(RowFailed) as failed:
        run_single_llm("I'm sorry, but I can't help with that.")
    assert failed.value.reason is FailureReason.REFUSED_TO_DELIBERATE
