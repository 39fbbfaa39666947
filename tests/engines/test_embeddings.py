"""Embeddings from a server on loopback that counts letters."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from threading import Thread
from typing import Any

import numpy as np
import pytest

from aidsafe_dagster.engines.embeddings import embedder
from aidsafe_dagster.engines.settings import EmbeddingSettings
from aidsafe_dagster.recipe.errors import SetupError

TEXTS = ["aab", "b", "ccc", "ab", "abc"]
VECTORS = [[2, 1, 0], [0, 1, 0], [0, 0, 3], [1, 1, 0], [1, 1, 1]]


@dataclass
class EmbeddingServer:
    base_url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    replies: list[tuple[int, Any]] = field(default_factory=list)
    """Status and body to reply with before the usual replies."""


def count_letters(text: str) -> list[int]:
    return [text.count(letter) for letter in "abc"]


@contextmanager
def an_embedding_server(*replies: tuple[int, Any]) -> Iterator[EmbeddingServer]:
    """Serve embeddings in the reverse order of the texts, each with the index of its text."""
    state = EmbeddingServer(replies=list(replies))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.requests.append(body | {"path": self.path})
            state.keys.append(self.headers.get("Authorization", ""))
            data = []
            for index, text in enumerate(body["input"]):
                data.append({"index": index, "embedding": count_letters(text)})
            status, reply = 200, {"data": data[::-1]}
            if state.replies:
                status, reply = state.replies.pop(0)
            content = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.base_url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


def embed_texts(
    base_url: str, texts: list[str] = TEXTS, **settings: Any
) -> list[list[float]]:
    values = {"model": "letters", "base_url": base_url, "first_wait_s": 0.01} | settings
    embed = embedder(EmbeddingSettings.model_validate(values))
    assert embed is not None
    return embed(texts).tolist()  # type: ignore[no-any-return]


def test_without_a_model_there_are_no_embeddings() -> None:
    assert embedder(EmbeddingSettings()) is None


def test_vectors_come_in_the_order_of_the_texts() -> None:
    with an_embedding_server() as server:
        assert embed_texts(server.base_url, texts_per_call=2) == VECTORS
        for body in server.requests:
            assert (body["path"], body["model"]) == ("/v1/embeddings", "letters")
        inputs = [body["input"] for body in server.requests]
        assert inputs == [TEXTS[:2], TEXTS[2:4], TEXTS[4:]]


def test_a_transient_error_is_retried() -> None:
    with an_embedding_server((503, {}), (429, {})) as server:
        assert embed_texts(server.base_url) == VECTORS
        assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("reply", "message", "attempts"),
    [
        (
            (401, {"error": "the key my-secret-key is wrong"}),
            r"HTTP 401: .*the key \*\*\* is wrong",
            1,
        ),
        ((404, {"error": "no such model"}), "model 'letters': HTTP 404", 1),
        ((500, {"error": "down"}), "HTTP 500", 5),
        ((200, {"data": []}), "0 embeddings for 5 texts", 1),
        ((200, {"error": "?"}), "the reply holds no embeddings", 1),
        (
            (
                200,
                {"data": [{"index": n, "embedding": [1] * (n + 1)} for n in range(5)]},
            ),
            "different lengths",
            1,
        ),
    ],
)
def test_texts_without_embeddings_raise_a_setup_error(
    monkeypatch: pytest.MonkeyPatch, reply: tuple[int, Any], message: str, attempts: int
) -> None:
    monkeypatch.setenv("MY_KEY", "my-secret-key")
    with an_embedding_server(*[reply] * 5) as server:
        with pytest.raises(SetupError, match=message) as raised:
            embed_texts(server.base_url, api_key_env="MY_KEY")
        assert server.keys == ["Bearer my-secret-key"] * attempts
    assert "my-secret-key" not in str(raised.value)


def test_a_server_that_is_down_is_named() -> None:
    with an_embedding_server() as server:
        base_url = server.base_url
    with pytest.raises(
        SetupError, match="/v1/embeddings, model 'letters': ConnectError"
    ):
        embed_texts(base_url)


@pytest.mark.skipif(
    find_spec("sentence_transformers") is not None,
    reason="sentence-transformers is installed",
)
def test_a_model_on_this_machine_needs_sentence_transformers() -> None:
    with pytest.raises(
        SetupError, match=r"install sentence-transformers .* or set embeddings.base_url"
    ):
        embed_texts("", model="all-MiniLM-L6-v2")


def test_vectors_are_64_bit_floats() -> None:
    with an_embedding_server() as server:
        embed = embedder(EmbeddingSettings(model="letters", base_url=server.base_url))
        assert embed is not None
        assert embed(TEXTS).dtype == np.float64
