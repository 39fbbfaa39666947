"""The endpoint engine against a real HTTP server on loopback with a fixed reply."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from aidsafe_dagster.engines.endpoint import EndpointEngine
from aidsafe_dagster.engines.protocol import RequestRejected, RetryableError
from aidsafe_dagster.engines.settings import EndpointSettings
from aidsafe_dagster.recipe.dialogue import Completion
from aidsafe_dagster.recipe.errors import SetupError
from tests.engines.test_journal import a_request
from tests.serving import a_free_port

KEY = "sk-very-secret-0123456789"


class ReceivedRequests(list[tuple[dict[str, str], dict[str, Any]]]):
    """Headers and body of each request."""

    base_url = ""


@contextmanager
def a_server(
    status: int = 200, body: str | bytes = "", headers: dict[str, str] | None = None
) -> Iterator[ReceivedRequests]:
    received = ReceivedRequests()
    content = body.encode() if isinstance(body, str) else body

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            received.append((dict(self.headers), body))
            self._reply(status, content)

        def do_GET(self) -> None:
            self._reply(200, b'{"data": [{"id": "served-model"}]}')

        def _reply(self, code: int, content: bytes) -> None:
            self.send_response(code)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    received.base_url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def a_reply(content: str | None = "{}", finish: str = "stop", **more: Any) -> str:
    choice = {
        "message": {"role": "assistant", "content": content, **more},
        "finish_reason": finish,
    }
    usage = {
        "prompt_tokens": 30,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 16},
    }
    return json.dumps({"model": "m-1", "choices": [choice], "usage": usage})


def complete(base_url: str, attempt: int = 0, **settings: Any) -> Completion:
    async def work() -> Completion:
        engine = EndpointEngine(
            EndpointSettings(base_url=base_url, model="m", **settings)
        )
        try:
            return await engine.complete(a_request(), attempt)
        finally:
            await engine.close()

    return asyncio.run(work())


def test_a_completion_holds_text_model_and_token_counts() -> None:
    with a_server(body=a_reply('{"a": 1}')) as server:
        completion = complete(server.base_url)
    assert (completion.text, completion.model) == ('{"a": 1}', "m-1")
    assert completion.usage.model_dump() == {
        "calls": 1,
        "prompt_tokens": 30,
        "cached_tokens": 16,
        "completion_tokens": 5,
        "reasoning_tokens": 0,
        "cost": 0.0,
    }


def test_the_schema_the_seed_and_the_sampling_are_sent() -> None:
    with a_server(body=a_reply()) as server:
        complete(server.base_url, attempt=2, extra_body={"min_p": 0.1})
    _, body = server[0]
    assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert body["messages"] == [{"role": "user", "content": "Hello"}]
    assert body["seed"] == a_request().seed + 2
    assert (body["max_tokens"], body["min_p"]) == (4096, 0.1)


def test_the_key_is_sent_as_a_bearer_token_and_masked_in_errors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    with (
        a_server(401, f'{{"error": "bad key {KEY}"}}') as server,
        pytest.raises(SetupError) as raised,
    ):
        complete(server.base_url, api_key_env="MY_KEY")
    assert server[0][0]["Authorization"] == f"Bearer {KEY}"
    assert "MY_KEY" in str(raised.value)
    assert KEY not in str(raised.value)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_overload_is_retryable(status: int) -> None:
    with (
        a_server(status, "busy") as server,
        pytest.raises(RetryableError, match=f"HTTP {status}: busy"),
    ):
        complete(server.base_url)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("soon", None)],
)
def test_retry_after_is_read_in_both_forms(value: str, seconds: float | None) -> None:
    with (
        a_server(429, "busy", {"Retry-After": value}) as server,
        pytest.raises(RetryableError) as raised,
    ):
        complete(server.base_url)
    assert raised.value.retry_after_s == seconds


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html>",
        "[]",
        "{}",
        '{"choices": []}',
        a_reply(""),
        a_reply("  "),
        a_reply(None),
        a_reply()[:40],
    ],
)
def test_an_empty_cut_or_foreign_body_is_retryable(body: str) -> None:
    with a_server(body=body) as server, pytest.raises(RetryableError):
        complete(server.base_url)


def test_an_answer_cut_at_the_token_limit_is_retried_twice_and_then_rejected() -> None:
    with a_server(body=a_reply('{"a', finish="length")) as server:
        for attempt in (0, 1):
            with pytest.raises(RetryableError, match="cut"):
                complete(server.base_url, attempt)
        with pytest.raises(RequestRejected, match="cut"):
            complete(server.base_url, 2)


def test_a_request_that_the_server_refuses_is_rejected_with_its_message() -> None:
    error = '{"error": "maximum context length is 1024"}'
    with (
        a_server(400, error) as server,
        pytest.raises(RequestRejected, match="maximum context length"),
    ):
        complete(server.base_url)


def test_an_unknown_model_is_a_setup_error_that_names_the_served_models() -> None:
    with (
        a_server(404, "no such model") as server,
        pytest.raises(SetupError, match="served: served-model"),
    ):
        complete(server.base_url)


def test_a_server_that_is_down_is_retryable() -> None:
    with pytest.raises(RetryableError, match="Connect"):
        complete(f"http://127.0.0.1:{a_free_port()}/v1")


def test_a_refusal_in_the_protocol_s_refusal_field_is_an_answer() -> None:
    with a_server(body=a_reply(None, refusal="I can't help with that.")) as server:
        assert complete(server.base_url).text == "I can't help with that."


def test_characters_that_cannot_be_stored_are_replaced() -> None:
    with a_server(body=a_reply("a\ud800b\0c")) as server:
        assert complete(server.base_url).text == "a?b\ufffdc"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base_url": "localhost:8000", "model": "m"}, "not an http"),
        ({"base_url": "http://x/v1"}, "endpoint.model"),
    ],
)
def test_incomplete_settings_are_refused(
    settings: dict[str, str], message: str
) -> None:
    with pytest.raises(SetupError, match=message):
        EndpointEngine(EndpointSettings(**settings))
