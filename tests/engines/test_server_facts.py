import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from aidsafe_dagster.engines.server_facts import context_length
from aidsafe_dagster.engines.settings import ServerSettings
from tests.serving import a_free_port

Pages = Mapping[str, Any]


@contextmanager
def a_server(pages: Pages, keys: list[str] | None = None) -> Iterator[str]:
    """Serve JSON by path; what is no path is a 404. The keys sent are added to `keys`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if keys is not None:
                keys.append(self.headers.get("Authorization", ""))
            page = pages.get(self.path)
            content = page if isinstance(page, bytes) else json.dumps(page).encode()
            self.send_response(404 if page is None else 200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}
    )
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def length_at(base_url: str, model: str = "m", **changes: Any) -> int | None:
    settings = ServerSettings(base_url=base_url, model=model, **changes)
    return asyncio.run(context_length(settings))


def models(*entries: Mapping[str, Any]) -> Pages:
    return {"/v1/models": {"object": "list", "data": list(entries)}}


@pytest.mark.parametrize(
    "fields",
    [
        {"max_model_len": 8192},
        {"context_length": 8192},
        {"context_window": 8192},
        {"max_context_length": 8192},
        {"meta": {"n_ctx_train": 8192}},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_the_length_is_read_from_the_list_of_models(fields: dict[str, Any]) -> None:
    with a_server(models({"id": "other"}, {"id": "m", **fields})) as url:
        assert length_at(url) == 8192


def test_a_length_in_the_settings_stands_and_nobody_is_asked() -> None:
    closed = f"http://127.0.0.1:{a_free_port()}/v1"
    assert length_at(closed, context_length=4096) == 4096


def test_the_slot_of_llama_cpp_counts_and_not_what_the_model_was_trained_on() -> None:
    pages = {
        **models({"id": "model.gguf", "meta": {"n_ctx_train": 131072}}),
        "/props": {"default_generation_settings": {"n_ctx": 4096}},
    }
    with a_server(pages) as url:
        # It answers to any name.
        assert length_at(url, "whatever") == 4096


def test_an_adapter_holds_what_its_model_holds() -> None:
    base = {"id": "base", "max_model_len": 2048, "parent": None}
    adapter = {"id": "m", "max_model_len": None, "parent": "base"}
    with a_server(models(base, adapter)) as url:
        assert length_at(url) == 2048


def test_a_model_that_is_not_listed_among_several_is_not_known() -> None:
    with a_server(models({"id": "a", "max_model_len": 1}, {"id": "b"})) as url:
        assert length_at(url) is None


@pytest.mark.parametrize(
    "page",
    [
        None,
        b"<html>",
        b"\xff\xfe",
        [],
        {"data": "none"},
        {"data": [None, "m", {"id": "m", "max_model_len": "8192"}]},
        {"data": [{"id": "m", "max_model_len": True, "context_length": -1}]},
        {"data": [{"id": "m", "parent": "m", "meta": 5}]},
        {"data": [{"id": "m", "max_model_len": 0}]},
    ],
)
def test_whatever_else_a_server_says_is_no_length(page: Any) -> None:
    with a_server({"/v1/models": page}) as url:
        assert length_at(url) is None


def test_a_server_that_cannot_be_reached_is_no_error() -> None:
    assert length_at(f"http://127.0.0.1:{a_free_port()}/v1") is None
    assert length_at("") is None


def test_the_key_is_sent_without_the_white_space_around_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FACTS_KEY", " sk-facts\n")
    keys: list[str] = []
    with a_server({}, keys) as url:
        length_at(url, api_key_env="FACTS_KEY")
    assert set(keys) == {"Bearer sk-facts"}


def test_a_server_of_this_machine_is_asked_past_every_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{a_free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    with a_server(models({"id": "m", "max_model_len": 512})) as url:
        assert length_at(url) == 512


def test_another_machine_is_asked_through_the_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pages = {"http://models.example/v1/models": {"data": [{"context_length": 512}]}}
    with a_server(pages) as proxy:
        monkeypatch.setenv("http_proxy", proxy.removesuffix("/v1"))
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert length_at("http://models.example/v1") == 512
