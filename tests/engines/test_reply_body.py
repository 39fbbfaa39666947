"""Replies without end or measure: what a server may cost this process, over real HTTP."""

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import pytest

from aidsafe_dagster.engines.embeddings import embedder
from aidsafe_dagster.engines.protocol import (
    ErrorKind,
    RequestRejected,
    RetryableError,
)
from aidsafe_dagster.engines.server_facts import context_length
from aidsafe_dagster.engines.server_load import ServerLoad, take_last_sample
from aidsafe_dagster.engines.settings import EmbeddingSettings, EndpointSettings
from aidsafe_dagster.engines.tokenize import server_token_count
from aidsafe_dagster.recipe.errors import SetupError
from tests.engines.completing import an_engine, complete
from tests.engines.dialects import a_chat_completion
from tests.engines.raw_server import Script, a_raw_server, head, without_end

MIB = 2**20
EVENTS = "Content-Type: text/event-stream"


def event(delta: dict[str, Any], **choice: Any) -> bytes:
    fields = {"choices": [{"index": 0, "delta": delta, **choice}]}
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def words(count: int) -> str:
    """Return a text that is no loop."""
    return " ".join(str(number * 7919 % 100_003) for number in range(count))


LONG = words(20_000)
BOMB = zlib.compress(b" " * (200 * MIB))
GZIP_BOMB = gzip.compress(b" " * (200 * MIB), mtime=0)
HUGE: dict[str, Script] = {
    "of a stated length": lambda _: without_end(
        head(f"Content-Length: {2**40}"), b" " * MIB
    ),
    "of no stated length": lambda _: without_end(head(), b" " * MIB),
    "in chunks": lambda _: without_end(
        head("Transfer-Encoding: chunked"), b"10000\r\n" + b" " * 65536 + b"\r\n"
    ),
    "deflated": lambda _: [head("Content-Encoding: deflate"), BOMB],
    "gzipped": lambda _: [
        head("Content-Encoding: gzip", f"Content-Length: {len(GZIP_BOMB)}"),
        GZIP_BOMB,
    ],
    "an error": lambda _: without_end(head(status="400 Bad"), b"x" * MIB),
    "a stream of answer": lambda _: without_end(head(EVENTS), event({"content": LONG})),
    "a stream of reasoning": lambda _: without_end(
        head(EVENTS), event({"reasoning": LONG})
    ),
    "a stream of parts": lambda _: without_end(
        head(EVENTS), event({"content": [{"type": "text", "text": LONG}]})
    ),
    "a stream of probabilities": lambda _: without_end(
        head(EVENTS), event({"content": "a"}, logprobs={"content": [LONG]})
    ),
    "a stream of one line": lambda _: without_end(
        head(EVENTS), b'data: {"choices": [' + b"[" * MIB
    ),
    "a stream of comments": lambda _: without_end(head(EVENTS), b": ping\n\n" * 9999),
    "a deflated stream": lambda _: [
        head(EVENTS, "Content-Encoding: deflate"),
        zlib.compress(event({"content": " " * MIB}) * 20),
    ],
}


@pytest.mark.parametrize("kind", HUGE)
def test_a_reply_over_the_bound_is_left_off_and_may_be_tried_again(kind: str) -> None:
    with a_raw_server(HUGE[kind]) as server, pytest.raises(RetryableError) as raised:
        complete(server.base_url, max_reply_mib=1, end_loops="stream")
    assert "larger than" in str(raised.value)
    assert "max_reply_mib" in str(raised.value)
    # A server is up that sends so much.
    assert raised.value.kind is ErrorKind.BAD_ANSWER
    # The bound, what a stream's envelopes may take, and what is in buffers on the way.
    assert server.sent < 40 * MIB


def test_a_reply_within_the_bound_is_an_answer() -> None:
    body = gzip.compress(json.dumps(a_chat_completion(words(50_000))).encode())
    reply = [head("Content-Encoding: gzip", "Content-Type: application/json"), body]
    with a_raw_server(lambda _: reply) as server:
        assert complete(server.base_url, max_reply_mib=1).text == words(50_000)


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (head("Content-Length: 100000"), b" "),
        (head(), b"{"),
        (head(EVENTS), b": still here\n\n"),
        (head(EVENTS), event({"content": ""})),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    ],
)
def test_a_reply_that_trickles_without_end_is_given_up(
    start: bytes, piece: bytes
) -> None:
    with (
        a_raw_server(lambda _: without_end(start, piece, wait_s=0.05)) as server,
        pytest.raises(RetryableError) as raised,
    ):
        complete(server.base_url, timeout_s=0.5, end_loops="stream")
    assert raised.value.kind is ErrorKind.UNAVAILABLE


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"\0" * 100,
        b"\xff\xfe" * 50,
        b"HTTP/9.9 200\r\n\r\n",
        b"HTTP/1.1 2000000 OK\r\n\r\n",
        b"HTTP/1.1 -1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nContent-Length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nnot gzip",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\nnot brotli",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + GZIP_BOMB[:1000],
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=\xff\r\n\r\n\xff",
        b"HTTP/1.1 200 OK\r\nContent-Type: \xf0\x9f\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{}",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ],
)
def test_bytes_that_are_no_http_are_an_error_of_ours(reply: bytes) -> None:
    with (
        a_raw_server(lambda _: [reply]) as server,
        pytest.raises((RetryableError, RequestRejected)),
    ):
        complete(server.base_url, end_loops="stream", timeout_s=5)


REDIRECT = head("Location: http://127.0.0.1:9/v1", status="307 Elsewhere")
NESTED = head() + b"[" * 100_000


def asks_the_server(base_url: str) -> Iterable[Callable[[], Any]]:
    """Yield every other question that a server is asked, besides the one for a completion."""
    endpoint = EndpointSettings(base_url=base_url, model="m")
    embeddings = EmbeddingSettings(
        base_url=base_url, model="m", max_reply_mib=1, first_wait_s=0.001
    )
    yield lambda: asyncio.run(context_length(endpoint))
    yield lambda: asyncio.run(take_last_sample(ServerLoad(), f"{base_url}/metrics"))
    yield lambda: server_token_count(endpoint)("text")
    yield lambda: (embed := embedder(embeddings)) and embed(["text"])
    yield lambda: asyncio.run(models(base_url))


async def models(base_url: str) -> None:
    engine = an_engine(base_url, max_reply_mib=1)
    try:
        await engine.models()
    finally:
        await engine.close()


@pytest.mark.parametrize("kind", ["redirect", "nested", "endless", "deflated"])
def test_other_questions_to_a_server_survive_odd_replies_as_well(kind: str) -> None:
    replies: dict[str, Script] = {
        "redirect": lambda _: [REDIRECT],
        "nested": lambda _: [NESTED],
        "endless": HUGE["of no stated length"],
        "deflated": HUGE["deflated"],
    }
    with a_raw_server(replies[kind]) as server:
        for ask in asks_the_server(server.base_url):
            sent_before = server.sent
            # Some of them are set-up's trouble, and the others are figures that are missing.
            with suppress(SetupError):
                ask()
            assert server.sent - sent_before < 100 * MIB
