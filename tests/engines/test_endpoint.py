"""The endpoint engine against a real HTTP server on loopback: what it needs and survives."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aidsafe_dagster.engines.endpoint import EndpointEngine
from aidsafe_dagster.engines.protocol import (
    ErrorKind,
    RequestRejected,
    RetryableError,
)
from aidsafe_dagster.engines.settings import EndpointSettings
from aidsafe_dagster.recipe.dialogue import Completion
from aidsafe_dagster.recipe.errors import SetupError
from tests.engines.completing import an_engine, complete, outcome_of
from tests.engines.dialects import Reply, a_chat_completion, a_dialect_server, a_reply
from tests.engines.odd_json import JSON, REPLIES
from tests.engines.test_journal import a_request
from tests.serving import a_free_port

KEY = "sk-very-secret-0123456789"
ANSWERS = (Completion, RetryableError, RequestRejected, SetupError)


def test_a_server_that_is_down_is_retryable() -> None:
    with pytest.raises(RetryableError, match="Connect") as raised:
        complete(f"http://127.0.0.1:{a_free_port()}/v1")
    assert raised.value.kind is ErrorKind.UNAVAILABLE


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"base_url": "localhost:8000", "model": "m"}, "not an http"),
        ({"base_url": "http://x/v1"}, "endpoint.model"),
    ],
)
def test_incomplete_settings_are_refused(values: dict[str, str], message: str) -> None:
    with pytest.raises(SetupError, match=message):
        EndpointEngine(EndpointSettings(**values))


@pytest.mark.parametrize(
    "value", [f"{KEY} {KEY}", f"{KEY}\nx", f"{KEY}\x07", f"“{KEY}”", f"\ufeff{KEY}"]
)
def test_a_value_that_cannot_be_a_key_is_refused_without_being_shown(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("MY_KEY", value)
    with pytest.raises(SetupError, match=r"^MY_KEY: the key holds") as raised:
        an_engine("http://127.0.0.1:1/v1", api_key_env="MY_KEY")
    assert KEY not in str(raised.value)


@pytest.mark.parametrize("value", ["", "  \n"])
def test_a_variable_that_is_empty_holds_no_key(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("MY_KEY", value)
    with a_dialect_server(a_reply()) as server:
        complete(server.base_url, api_key_env="MY_KEY")
    assert "Authorization" not in server.requests[0].headers


def test_the_names_of_the_served_models_are_told() -> None:
    async def names(base_url: str) -> list[str]:
        engine = an_engine(base_url)
        try:
            return await engine.models()
        finally:
            await engine.close()

    with a_dialect_server(a_reply()) as server:
        assert asyncio.run(names(server.base_url)) == ["served-model"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(body=REPLIES | JSON, status=st.sampled_from([200, 200, 200, 400, 403, 429]))
@pytest.mark.parametrize("labels", [(), ("Yes", "No")])
def test_whatever_json_a_server_sends_is_an_answer_or_an_error_of_ours(
    labels: tuple[str, ...], body: Any, status: int
) -> None:
    request = a_request(labels=labels)
    outcome = outcome_of(
        Reply(body, status), request=request, settings={"reasoning": "keep"}
    )
    assert isinstance(outcome, ANSWERS)
    if isinstance(outcome, Completion):
        assert outcome.text.strip()
        # What databases and Parquet take.
        (outcome.text + outcome.reasoning + outcome.model).encode()


@settings(max_examples=50, deadline=None)
@given(body=st.binary(max_size=200) | st.text(max_size=200))
def test_whatever_else_a_server_sends_is_an_error_of_ours(body: bytes | str) -> None:
    outcome = outcome_of(Reply(body if isinstance(body, bytes) else body.encode()))
    assert isinstance(outcome, ANSWERS)


def test_a_long_reply_without_an_answer_is_soon_given_up() -> None:
    for filler in ('{"a":', "{", '{"a": "{', "[[", "<think></think>"):
        body = a_chat_completion(filler * 50_000)
        assert isinstance(outcome_of(Reply(body)), ANSWERS)
        body = a_chat_completion(None, reasoning=filler * 50_000)
        assert isinstance(outcome_of(Reply(body)), ANSWERS)
