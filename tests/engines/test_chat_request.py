"""Bodies of requests, as a real server receives them."""

import json
from typing import Any

import pytest

from aidsafe_dagster.engines.chat_request import ChatRequest, prompt_estimate
from aidsafe_dagster.engines.protocol import RequestRejected
from aidsafe_dagster.engines.settings import ServerSettings
from aidsafe_dagster.recipe.dialogue import Request, Sampling, SamplingTable
from aidsafe_dagster.recipe.records import FailureReason, Message, Role
from tests.engines.completing import complete, outcome_of
from tests.engines.dialects import a_dialect_server, a_reply
from tests.engines.test_journal import a_request

SCHEMA = {
    "type": "object",
    "properties": {
        "pattern": {"type": "string", "maxLength": 10},
        "scores": {
            "type": "array",
            "items": {"$ref": "#/$defs/Score"},
            "maxItems": 3,
        },
    },
    "$defs": {"Score": {"type": "integer", "minimum": 1}},
    "required": ["pattern", "scores"],
}
SYSTEM = Message(role="system", content="Rules.")
USER = Message(role="user", content="Hello")
ASSISTANT = Message(role="assistant", content="Hi")


def body_of(request: Request | None = None, **settings: Any) -> dict[str, Any]:
    """Return the body that a server receives."""
    with a_dialect_server(a_reply()) as server:
        complete(server.base_url, request=request or a_request(), **settings)
    return dict(server.body)


def test_the_schema_the_seed_and_the_sampling_are_sent() -> None:
    with a_dialect_server(a_reply()) as server:
        complete(server.base_url, attempt=2)
    assert server.body == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hello"}],
        "seed": a_request().seed + 2,
        "temperature": 0.7,
        "top_p": 0.95,
        "max_tokens": 8192,
        "response_format": {
            "type": "json_schema",
            "json_schema": {
                "name": "initializer",
                "schema": {"type": "object"},
                "strict": True,
            },
        },
    }


def test_sampling_that_is_not_set_is_not_sent() -> None:
    body = body_of(a_request(sampling=SamplingTable(max_tokens=5)))
    assert body["max_tokens"] == 5
    assert not {"temperature", "top_p"} & body.keys()


@pytest.mark.parametrize(
    ("output", "form"), [("json", {"type": "json_object"}), ("text", None)]
)
def test_an_answer_can_be_asked_for_without_a_schema(output: str, form: Any) -> None:
    assert body_of(output=output).get("response_format") == form


def test_a_request_without_a_schema_asks_for_no_form() -> None:
    body = body_of(a_request(schema={}), output="json")
    assert "response_format" not in body


def test_keywords_are_left_out_at_every_level_and_names_are_not() -> None:
    body = body_of(
        a_request(schema=SCHEMA),
        schema_omit=["maxLength", "maxItems", "minimum", "pattern"],
    )
    assert body["response_format"]["json_schema"]["schema"] == {
        "type": "object",
        "properties": {
            "pattern": {"type": "string"},
            "scores": {"type": "array", "items": {"$ref": "#/$defs/Score"}},
        },
        "$defs": {"Score": {"type": "integer"}},
        "required": ["pattern", "scores"],
    }
    # Our own check needs all of it.
    assert SCHEMA["properties"]["pattern"]["maxLength"] == 10  # type: ignore[index]


def test_fields_are_omitted_and_renamed() -> None:
    body = body_of(
        omit=["seed", "top_p", "response_format.json_schema.strict", "no.such"],
        rename={"max_tokens": "max_completion_tokens", "temperature": "options.t"},
    )
    assert not {"seed", "top_p", "max_tokens", "temperature"} & body.keys()
    assert body["max_completion_tokens"] == 8192
    assert body["options"] == {"t": 0.7}
    assert "strict" not in body["response_format"]["json_schema"]


def test_extra_fields_are_merged_at_every_level_and_win() -> None:
    extra = {"min_p": 0.1, "seed": 1, "response_format": {"json_schema": {"name": "x"}}}
    body = body_of(extra_body=extra)
    assert (body["min_p"], body["seed"]) == (0.1, 1)
    assert body["response_format"]["json_schema"]["name"] == "x"
    assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}


@pytest.mark.parametrize(
    ("messages", "sent"),
    [
        ((SYSTEM, USER), [("user", "Rules.\n\nHello")]),
        (
            (SYSTEM, USER, ASSISTANT, USER),
            [("user", "Rules.\n\nHello"), ("assistant", "Hi"), ("user", "Hello")],
        ),
        ((SYSTEM,), [("user", "Rules.")]),
        ((SYSTEM, ASSISTANT), [("user", "Rules."), ("assistant", "Hi")]),
        ((USER,), [("user", "Hello")]),
    ],
)
def test_the_system_message_can_go_to_the_head_of_the_user_s(
    messages: tuple[Message, ...], sent: list[tuple[str, str]]
) -> None:
    body = body_of(a_request(messages=messages), system="user")
    listed = [(message["role"], message["content"]) for message in body["messages"]]
    assert listed == sent


def test_reasoning_is_switched_and_has_a_budget_beside_the_answer_s_limit() -> None:
    settings: dict[str, Any] = {
        "reasoning_on": {"chat_template_kwargs": {"enable_thinking": True}},
        "reasoning_off": {"chat_template_kwargs": {"enable_thinking": False}},
        "reasoning_budget": 1000,
        "reasoning_budget_field": "thinking.budget_tokens",
        "extra_body": {"chat_template_kwargs": {"language": "en"}},
    }
    body = body_of(**settings)
    kwargs = body["chat_template_kwargs"]
    assert kwargs == {"enable_thinking": True, "language": "en"}
    assert body["max_tokens"] == 8192 + 1000
    assert body["thinking"] == {"budget_tokens": 1000}
    body = body_of(**settings, reasoning="off")
    assert body["chat_template_kwargs"]["enable_thinking"] is False
    assert body["max_tokens"] == 8192
    assert "thinking" not in body


def test_the_budget_goes_under_the_limit_s_other_name() -> None:
    body = body_of(
        reasoning_budget=1000, rename={"max_tokens": "max_completion_tokens"}
    )
    assert body["max_completion_tokens"] == 9192


def test_a_question_for_labels_goes_by_the_same_names() -> None:
    request = a_request(schema={}, labels=("Yes", "No"))
    with a_dialect_server(a_reply("Yes")) as server:
        completion = complete(
            server.base_url,
            request=request,
            rename={"max_tokens": "max_completion_tokens"},
            omit=["temperature"],
        )
    assert server.body["max_completion_tokens"] == 1
    assert server.body["logprobs"] is True
    assert "temperature" not in server.body
    assert json.loads(completion.text) == {"Yes": 1.0, "No": 0.0}


def test_no_more_tokens_are_asked_for_than_the_context_leaves() -> None:
    short = body_of(context_length=16384)
    assert short["max_tokens"] == 8192
    long = a_request(messages=(Message(role="user", content="word " * 4000),))
    limit = body_of(long, context_length=8192)["max_tokens"]
    # About 5,000 tokens of prompt.
    assert 2500 < limit < 3192


def test_a_prompt_that_leaves_no_room_is_not_sent() -> None:
    long = a_request(messages=(Message(role="user", content="word " * 8000),))
    with (
        a_dialect_server(a_reply()) as server,
        pytest.raises(
            RequestRejected, match=r"about 10,\d{3} tokens.* 8,192"
        ) as raised,
    ):
        complete(server.base_url, request=long, context_length=8192)
    assert raised.value.reason is FailureReason.CONTEXT_OVERFLOW
    assert server.requests == []


def test_an_answer_of_one_token_needs_room_for_one() -> None:
    request = a_request(
        schema={},
        labels=("Yes", "No"),
        messages=(Message(role="user", content="x" * 3000),),
    )
    outcome = outcome_of(
        a_reply("No"), request=request, settings={"context_length": 1000}
    )
    assert not isinstance(outcome, Exception)


def test_a_body_shares_nothing_with_the_settings_that_a_rename_could_change() -> None:
    settings = ServerSettings(
        base_url="http://x/v1",
        model="m",
        rename={"logit_bias.a": "b"},
        extra_body={"logit_bias": {"a": 1}},
    )
    chat = ChatRequest(settings)
    first = chat.body(a_request(role=Role.GUARD, sampling=Sampling()), 0)
    second = chat.body(a_request(role=Role.GUARD, sampling=Sampling()), 0)
    assert first == second
    assert settings.extra_body == {"logit_bias": {"a": 1}}


def test_a_prompt_in_chinese_is_not_taken_for_shorter_than_it_is() -> None:
    chinese = a_request(messages=(Message(role="user", content="怎样偷自行车" * 500),))
    # A token a character, as of tokenizers that know the script well.
    assert prompt_estimate(chinese) > 3000


@pytest.mark.parametrize(
    ("messages", "begins_an_answer"), [((USER,), True), ((USER, ASSISTANT), False)]
)
def test_a_prompt_is_scored_as_it_stands_and_nothing_is_generated_after_it(
    messages: tuple[Message, ...], begins_an_answer: bool
) -> None:
    request = a_request(messages=messages, schema={}, scores_prompt=True)
    body = ChatRequest(ServerSettings(model="m")).body(request, 0)
    assert body["prompt_logprobs"] == 0
    assert body["max_tokens"] == 1
    assert body["add_generation_prompt"] is begins_an_answer
