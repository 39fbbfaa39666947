"""What a server says of itself, and what is wrong with an address, over real HTTP."""

import asyncio
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from aidsafe_dagster.engines.server_check import ServerCheck, Verdict, check_server
from aidsafe_dagster.engines.settings import ServerSettings
from tests.dialect_server import HTML, a_dialect_server
from tests.serving import a_free_port

KEY = "sk-do-not-show-0123456789"


def checked(base_url: str, **settings: Any) -> ServerCheck:
    server = ServerSettings(**{"base_url": base_url, "model": "m"} | settings)
    return asyncio.run(check_server(server))


def test_a_server_that_serves_the_model_says_so_with_its_context_length() -> None:
    with a_dialect_server(context_in_list=8192) as server:
        check = checked(server.base_url)
    assert check.verdict is Verdict.SERVES
    assert check.detail == f"{server.base_url} serves 'm'"
    assert check.context_length == 8192
    assert server.chats == []


@pytest.mark.parametrize("model", ["qwen3", "models/gemini"])
def test_names_that_are_listed_longer_are_the_same_model(model: str) -> None:
    with a_dialect_server(models=("qwen3:latest", "models/gemini")) as server:
        check = checked(server.base_url, model=model.removeprefix("models/"))
    assert check.verdict is Verdict.SERVES


def test_a_model_that_is_not_served_is_answered_with_the_nearest_and_ten_others() -> (
    None
):
    models = tuple(f"other-{number}" for number in range(30))
    with a_dialect_server(models=(*models, "qwen-7b")) as server:
        check = checked(server.base_url, model="qwen-7B")
    assert check.verdict is Verdict.NO_SUCH_MODEL
    assert "no such model" in check.detail
    assert "other-9 and 21 more, not 'qwen-7B'. Did you mean 'qwen-7b'?" in check.detail


def test_a_wrong_key_is_called_that_and_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    with a_dialect_server(key="another") as server:
        check = checked(server.base_url, api_key_env="MY_KEY")
    assert check.verdict is Verdict.UNUSABLE
    assert "HTTP 401: Incorrect API key provided: the key in MY_KEY is wrong" in (
        check.detail
    )
    assert KEY not in check.detail


def test_a_key_that_is_not_set_is_called_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    with a_dialect_server(key="another") as server:
        unset = checked(server.base_url, api_key_env="MY_KEY")
        unnamed = checked(server.base_url)
    assert "HTTP 401" in unset.detail
    assert "the key in MY_KEY is not set" in unset.detail
    assert "api_key_env names no variable" in unnamed.detail


@pytest.mark.parametrize(
    "wrong",
    ["", "/v1/chat/completions", "/v1/models", "/v1/v1", "/v2", "/v1/chat", "/"],
)
def test_a_wrong_path_is_answered_with_the_one_that_works(wrong: str) -> None:
    with a_dialect_server() as server:
        check = checked(server.root + wrong)
    assert check.verdict is Verdict.UNUSABLE
    assert check.right_url == server.base_url
    assert "wrong path" in check.detail
    assert f"base_url should be {server.base_url} (it should end with /v1)" in (
        check.detail
    )


@pytest.mark.parametrize("path", ["/api/v1", "/team/v1"])
def test_the_right_path_may_be_deeper(path: str) -> None:
    with a_dialect_server(path=path) as server:
        check = checked(server.base_url.removesuffix("/v1"))
    assert check.right_url == server.base_url


def test_a_right_path_behind_a_wrong_key_is_found_too() -> None:
    with a_dialect_server(key="another") as server:
        below = checked(f"{server.root}/nowhere")
    # The server asks for the key before it looks at the path.
    assert "HTTP 401" in below.detail


def test_a_path_that_leads_nowhere_is_called_wrong() -> None:
    with a_dialect_server(path="/deep/inside/v1") as server:
        check = checked(f"{server.root}/v1")
    assert check.verdict is Verdict.UNUSABLE
    assert "wrong path" in check.detail
    assert "base_url should end with /v1" in check.detail


def test_a_sign_in_page_is_called_that() -> None:
    with a_dialect_server(page=HTML) as server:
        check = checked(server.base_url)
    assert check.verdict is Verdict.UNUSABLE
    assert "an HTML page 'Sign in': a sign-in page" in check.detail


def test_a_server_that_lists_nothing_and_chats_is_no_failure() -> None:
    with a_dialect_server(models=None) as server:
        check = checked(server.base_url)
    assert check.verdict is Verdict.NO_LIST
    assert "cannot list its models" in check.detail


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "base_url is not set; example: http"),
        ("127.0.0.1:8000/v1", "is not an http(s) URL"),
        ("http://name.invalid/v1", "the name of the host in name.invalid is not known"),
    ],
)
def test_an_address_that_cannot_be_right_is_told_in_plain_words(
    url: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_proxies(monkeypatch)
    check = checked(url)
    assert check.verdict is Verdict.UNUSABLE
    assert words in check.detail


def test_a_port_that_nobody_listens_on_refuses_the_connection() -> None:
    port = a_free_port()
    check = checked(f"http://127.0.0.1:{port}/v1")
    assert f"127.0.0.1:{port} refuses the connection; is the server running?" in (
        check.detail
    )


def test_a_proxy_in_use_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_proxies(monkeypatch)
    proxy = f"127.0.0.1:{a_free_port()}"
    monkeypatch.setenv("http_proxy", f"http://me:{KEY}@{proxy}")
    check = checked("http://llm.corp.invalid/v1")
    assert "through the proxy http://me:***@" in check.detail
    assert KEY not in check.detail


def test_a_server_behind_a_proxy_is_reached_through_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_proxies(monkeypatch)
    # As a proxy, the server is asked for whole URLs.
    with a_dialect_server(path="http://llm.corp.invalid/v1") as server:
        monkeypatch.setenv("http_proxy", server.root)
        check = checked("http://llm.corp.invalid/v1")
    assert check.verdict is Verdict.SERVES


def test_this_machine_is_never_asked_for_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_proxies(monkeypatch)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{a_free_port()}")
    with a_dialect_server() as server:
        by_address = checked(server.base_url)
        by_name = checked(server.base_url.replace("127.0.0.1", "localhost"))
    assert by_address.verdict is Verdict.SERVES
    assert by_name.verdict is Verdict.SERVES


def test_a_certificate_that_nobody_signed_is_told_with_the_variable_that_helps(
    tmp_path: Path,
) -> None:
    with a_tls_port(tmp_path) as port:
        check = checked(f"https://127.0.0.1:{port}/v1")
    assert "the TLS certificate of 127.0.0.1" in check.detail
    assert "is not trusted" in check.detail
    assert "SSL_CERT_FILE" in check.detail


def test_https_to_a_server_without_tls_is_told() -> None:
    with a_dialect_server() as server:
        check = checked(server.base_url.replace("http:", "https:"))
    assert "does not speak TLS; does base_url begin with http://?" in check.detail


def test_a_busy_server_is_called_busy() -> None:
    page = '{"error": {"message": "Loading model"}}'
    with a_dialect_server(page=page, page_status=503) as server:
        check = checked(server.base_url)
    assert "busy or still starting: HTTP 503: Loading model" in check.detail


def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@contextmanager
def a_tls_port(folder: Path) -> Iterator[int]:
    """Listen with a certificate that nobody has signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _certificate(folder: Path) -> Path:
    """Write a key and a certificate for loopback into one file; return its path."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([loopback]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "certificate.pem"
    file.write_bytes(secret + certificate.public_bytes(pem))
    return file
