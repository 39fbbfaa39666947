"""The endpoint engine against a real HTTP server on loopback that does what it is told."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from aidsafe_dagster.engines.endpoint import EndpointEngine, EndpointSettings
from aidsafe_dagster.engines.protocol import RequestRejected, RetryableError
from aidsafe_dagster.recipe.dialogue import Completion
from aidsafe_dagster.recipe.errors import SetupError
from tests.engines.test_journal import a_request
from tests.serving import a_free_port

KEY = "sk-very-secret-0123456789"


class Seen(list[tuple[dict[str, str], dict[str, Any]]]):
    """(headers, body) of each request."""

    base_url = ""


@contextmanager
def a_server(
    status: int = 200, body: str | bytes = "", headers: dict[str, str] | None = None
) -> Iterator[Seen]:
    seen = Seen()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append((dict(self.headers), sent))
            self._reply(status, body.encode() if isinstance(body, str) else body)

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
    seen.base_url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def a_reply(content: str | None = "{}", finish: str = "stop", **more: Any) -> str:
    choice = {"message": {"role": "assistant", "content": content, **more}, "finish_reason": finish}
    usage = {
        "prompt_tokens": 30,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 16},
    }
    return json.dumps({"model": "m-1", "choices": [choice], "usage": usage})


def completed(base_url: str, attempt: int = 0, **settings: Any) -> Completion:
    async def complete() -> Completion:
        engine = EndpointEngine(EndpointSettings(base_url=base_url, model="m", **settings))
        try:
            return await engine.complete(a_request(), attempt)
        finally:
            await engine.close()

    return asyncio.run(complete())


def test_an_answer_comes_with_its_model_and_its_tokens() -> None:
    with a_server(body=a_reply('{"a": 1}')) as server:
        completion = completed(server.base_url)
    assert (completion.text, completion.model) == ('{"a": 1}', "m-1")
    assert completion.usage.model_dump() == {
        "calls": 1,
        "prompt_tokens": 30,
        "cached_tokens": 16,
        "completion_tokens": 5,
    }


def test_the_schema_the_seed_and_the_sampling_are_sent() -> None:
    with a_server(body=a_reply()) as server:
        completed(server.base_url, attempt=2, extra_body={"min_p": 0.1})
    _, body = server[0]
    assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert body["messages"] == [{"role": "user", "content": "Hello"}]
    assert body["seed"] == a_request().seed + 2
    assert (body["max_tokens"], body["min_p"]) == (4096, 0.1)


def test_the_key_is_sent_as_a_bearer_token_and_is_in_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    with (
        a_server(401, f'{{"error": "bad key {KEY}"}}') as server,
        pytest.raises(SetupError) as refused,
    ):
        completed(server.base_url, api_key_env="MY_KEY")
    assert server[0][0]["Authorization"] == f"Bearer {KEY}"
    assert "MY_KEY" in str(refused.value)
    assert KEY not in str(refused.value)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_overload_is_worth_another_attempt(status: int) -> None:
    with (
        a_server(status, "busy") as server,
        pytest.raises(RetryableError, match=f"HTTP {status}: busy"),
    ):
        completed(server.base_url)


@pytest.mark.parametrize(
    ("value", "seconds"), [("7", 7.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("soon", None)]
)
def test_retry_after_is_read_in_both_its_forms(value: str, seconds: float | None) -> None:
    with (
        a_server(429, "busy", {"Retry-After": value}) as server,
        pytest.raises(RetryableError) as busy,
    ):
        completed(server.base_url)
    assert busy.value.retry_after_s == seconds


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
def test_an_empty_cut_or_foreign_body_is_worth_another_attempt(body: str) -> None:
    with a_server(body=body) as server, pytest.raises(RetryableError):
        completed(server.base_url)


def test_an_answer_cut_at_the_token_limit_is_tried_twice_more_and_then_given_up() -> None:
    with a_server(body=a_reply('{"a', finish="length")) as server:
        for attempt in (0, 1):
            with pytest.raises(RetryableError, match="cut"):
                completed(server.base_url, attempt)
        with pytest.raises(RequestRejected, match="cut"):
            completed(server.base_url, 2)


def test_a_request_that_the_server_never_takes_is_rejected_with_its_words() -> None:
    said = '{"error": "maximum context length is 1024"}'
    with (
        a_server(400, said) as server,
        pytest.raises(RequestRejected, match="maximum context length"),
    ):
        completed(server.base_url)


def test_an_unknown_model_stops_the_run_and_names_those_that_are_served() -> None:
    with (
        a_server(404, "no such model") as server,
        pytest.raises(SetupError, match="served: served-model"),
    ):
        completed(server.base_url)


def test_a_server_that_is_down_is_worth_another_attempt() -> None:
    with pytest.raises(RetryableError, match="Connect"):
        completed(f"http://127.0.0.1:{a_free_port()}/v1")


def test_a_refusal_in_the_protocol_s_own_field_is_an_answer() -> None:
    with a_server(body=a_reply(None, refusal="I can't help with that.")) as server:
        assert completed(server.base_url).text == "I can't help with that."


def test_text_that_cannot_be_stored_is_mended() -> None:
    with a_server(body=a_reply("a\ud800b\0c")) as server:
        assert completed(server.base_url).text == "a?b\ufffdc"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"base_url": "localhost:8000", "model": "m"}, "not an http"),
        ({"base_url": "http://x/v1"}, "endpoint.model"),
    ],
)
def test_an_endpoint_that_is_not_fully_set_is_refused(settings: dict[str, str], told: str) -> None:
    with pytest.raises(SetupError, match=told):
        EndpointEngine(EndpointSettings(**settings))
