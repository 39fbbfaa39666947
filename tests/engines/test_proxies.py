"""Proxies by environment variables, and a real one on loopback in front of a made-up host."""

import asyncio
from collections.abc import Mapping

import pytest

from aidsafe_dagster.engines.embeddings import embedder
from aidsafe_dagster.engines.proxies import proxy_for
from aidsafe_dagster.engines.server_load import ServerLoad, take_last_sample
from aidsafe_dagster.engines.settings import EmbeddingSettings, EndpointSettings
from aidsafe_dagster.engines.tokenize import server_token_count
from aidsafe_dagster.recipe.errors import SetupError
from tests.engines.completing import complete
from tests.engines.dialects import Reply, a_dialect_server, a_reply

PROXY = "http://proxy.example:3128"
HOST = "http://llm.corp.example"
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def set_all(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("variables", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": PROXY}, PROXY),
        ({"https_proxy": PROXY}, PROXY),
        ({"HTTP_PROXY": PROXY}, None),
        ({"ALL_PROXY": PROXY}, PROXY),
        ({"ALL_PROXY": "http://other:1", "HTTPS_PROXY": PROXY}, PROXY),
        ({"HTTPS_PROXY": "proxy.example:3128"}, PROXY),
    ],
)
def test_the_variable_of_the_url_s_scheme_names_the_proxy(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], proxy: str | None
) -> None:
    set_all(monkeypatch, variables)
    assert proxy_for("https://llm.corp.example/v1") == proxy


@pytest.mark.parametrize(
    ("url", "no_proxy"),
    [
        ("https://llm.corp.example/v1", "llm.corp.example"),
        ("https://llm.corp.example/v1", "a, corp.example"),
        ("https://llm.corp.example/v1", ".corp.example"),
        ("https://llm.corp.example/v1", "*.corp.example"),
        ("https://LLM.corp.example/v1", "llm.CORP.example"),
        ("https://llm.corp.example:8443/v1", "llm.corp.example:8443"),
        ("https://llm.corp.example/v1", "*"),
        ("https://10.1.2.3/v1", "10.0.0.0/8"),
        ("https://10.1.2.3/v1", "10.1.2.3"),
        ("https://[fd00::1]/v1", "fd00::/8"),
    ],
)
def test_what_no_proxy_lists_is_reached_directly(
    monkeypatch: pytest.MonkeyPatch, url: str, no_proxy: str
) -> None:
    set_all(monkeypatch, {"ALL_PROXY": PROXY, "NO_PROXY": no_proxy})
    assert proxy_for(url) is None


@pytest.mark.parametrize(
    ("url", "no_proxy"),
    [
        ("https://llm.corp.example/v1", "orp.example"),
        ("https://llm.corp.example/v1", "llm.corp.example:8443"),
        ("https://11.1.2.3/v1", "10.0.0.0/8"),
        ("https://llm.corp.example/v1", ","),
    ],
)
def test_what_no_proxy_does_not_list_is_not(
    monkeypatch: pytest.MonkeyPatch, url: str, no_proxy: str
) -> None:
    set_all(monkeypatch, {"ALL_PROXY": PROXY, "NO_PROXY": no_proxy})
    assert proxy_for(url) == PROXY


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.9.1", "localhost", "a.localhost", "[::1]", "0.0.0.0"]
)
def test_this_machine_is_never_reached_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    set_all(monkeypatch, {"ALL_PROXY": PROXY})
    assert proxy_for(f"http://{host}:8000/v1") is None


def test_a_proxy_of_another_kind_is_refused_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_all(monkeypatch, {"ALL_PROXY": "socks5://me:pw@proxy.example:1080"})
    with pytest.raises(SetupError, match="only http and https proxies") as raised:
        proxy_for("https://llm.corp.example/v1")
    assert "me:pw" not in str(raised.value)


def test_a_completion_comes_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with a_dialect_server(a_reply()) as proxy:
        url = f"http://me:pw@127.0.0.1:{proxy.port}"
        set_all(monkeypatch, {"HTTP_PROXY": url})
        complete(f"{HOST}/v1")
        assert proxy.requests[0].path == f"{HOST}/v1/chat/completions"
        assert proxy.requests[0].headers["Proxy-Authorization"].startswith("Basic ")
        assert "Authorization" not in proxy.requests[0].headers


def test_a_loopback_server_is_asked_past_the_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with a_dialect_server(a_reply()) as server, a_dialect_server(a_reply()) as proxy:
        set_all(monkeypatch, {"HTTP_PROXY": proxy.root, "http_proxy": proxy.root})
        complete(server.base_url)
        assert (len(server.requests), len(proxy.requests)) == (1, 0)


def test_tokens_embeddings_and_metrics_come_through_the_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    body = {"count": 2, "data": [{"index": 0, "embedding": [1.0]}]}
    with a_dialect_server(Reply(body)) as proxy:
        set_all(monkeypatch, {"http_proxy": proxy.root})
        settings = EndpointSettings(base_url=f"{HOST}/v1", model="m")
        assert server_token_count(settings)("one two") == 2
        embed = embedder(EmbeddingSettings(base_url=f"{HOST}/v1", model="m"))
        assert embed is not None
        assert embed(["one"]).tolist() == [[1.0]]
        asyncio.run(take_last_sample(ServerLoad(), f"{HOST}/metrics"))
        paths = [request.path for request in proxy.requests]
        assert paths == [f"{HOST}/tokenize", f"{HOST}/v1/embeddings", f"{HOST}/metrics"]


def test_embeddings_of_a_loopback_server_are_asked_for_past_the_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    body = {"data": [{"index": 0, "embedding": [1.0]}]}
    with (
        a_dialect_server(Reply(body)) as server,
        a_dialect_server(Reply("", 500)) as proxy,
    ):
        set_all(monkeypatch, {"http_proxy": proxy.root, "ALL_PROXY": proxy.root})
        embed = embedder(EmbeddingSettings(base_url=server.base_url, model="m"))
        assert embed is not None
        assert embed(["one"]).tolist() == [[1.0]]
        assert proxy.requests == []
