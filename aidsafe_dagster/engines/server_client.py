"""Raw requests to a model server, for the doctor: what came back, and what that means.

The engine's own client is not used. It reads replies in order to use them, and the doctor wants
them as they are.
"""

import asyncio
import json
import re
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp

from aidsafe_dagster.engines.api_key import read_api_key
from aidsafe_dagster.engines.http_session import open_session
from aidsafe_dagster.engines.proxies import proxy_for
from aidsafe_dagster.engines.rate_limits import wait_s
from aidsafe_dagster.engines.reply_body import MIB, ReplyTooLarge, read_body
from aidsafe_dagster.engines.settings import ServerSettings
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.secret_mask import mask_secret, mask_url_secrets

PATIENCE_S = 20.0
"""Waits for a busy server, over all its requests."""
_PEEK_S = 10.0
_FIRST_WAIT_S = 1.0
_MAX_WORDS = 160
"""Characters of a server's message that are shown."""
_BUSY = {429, 503, 529}
_KEY_WORDS = re.compile(r"api[ _-]?key", re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)


class ServerUnusable(Exception):
    """No further request makes sense: no connection, a wrong key, or busy for too long."""


@dataclass(frozen=True)
class Reply:
    """What a server returned, as it is."""

    url: str
    status: int
    """That of an error in the body, where the server sent one under HTTP 200."""
    headers: Mapping[str, str]
    text: str
    """The key is masked in it."""
    data: Any
    """The body as JSON; None if it is not JSON."""

    @property
    def is_html(self) -> bool:
        start = self.text.lstrip()[:200].lower()
        return start.startswith(("<!doctype", "<html", "<head"))

    @property
    def refuses_key(self) -> bool:
        # Google says that a key is not valid under HTTP 400.
        names_key = bool(_KEY_WORDS.search(self.words))
        return self.status in (401, 403) or (self.status == 400 and names_key)

    @property
    def words(self) -> str:
        """The server's own message, on one line and cut."""
        words = _message(self.data) or self.text
        title = _TITLE.search(self.text)
        if self.is_html:
            name = f" '{title[1].strip()}'" if title else ""
            words = f"an HTML page{name}"
        line = " ".join(words.split())
        return line if len(line) <= _MAX_WORDS else line[: _MAX_WORDS - 1] + "…"

    def __str__(self) -> str:
        return (
            f"HTTP {self.status}: {self.words}" if self.words else f"HTTP {self.status}"
        )


class ServerClient:
    """Sends requests to one server, and waits where it is busy.

    Args:
        settings: of the server.
        timeout_s: for one call.
    """

    def __init__(self, settings: ServerSettings, timeout_s: float) -> None:
        self.settings = settings
        self.base_url = settings.base_url.strip().rstrip("/")
        self.requests = 0
        self.headers: dict[str, str] = {}
        """Those of all replies so far, with names in lower case."""
        self._has_answered = False
        self._timeout_s = timeout_s
        self._waited_s = 0.0
        self._key = ""
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._key = read_api_key(self.settings.api_key_env)
        self._session = open_session(self.settings, self._timeout_s)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def root_url(self) -> str:
        """Where servers put what is beside the OpenAI protocol."""
        return self.base_url.removesuffix("/v1")

    async def get(self, url: str) -> Reply:
        """Get a page.

        Raises:
            ServerUnusable: there is no connection; says why.
        """
        return await self._send("GET", url, None)

    async def post(self, url: str, body: Mapping[str, Any]) -> Reply:
        """Post a body once.

        Raises:
            ServerUnusable: there is no connection; says why.
        """
        return await self._send("POST", url, body)

    async def peek(self, url: str, body: Mapping[str, Any] | None = None) -> Reply:
        """Ask for what a server need not have: no answer is an answer with status 0."""
        method = "GET" if body is None else "POST"
        try:
            return await asyncio.wait_for(self._send(method, url, body), _PEEK_S)
        except (ServerUnusable, TimeoutError) as error:
            return Reply(url, 0, {}, str(error), None)

    async def chat(self, body: Mapping[str, Any]) -> Reply:
        """Send a chat request, again after a wait while the server is busy.

        Raises:
            ServerUnusable: no other request can succeed either.
        """
        pause_s = _FIRST_WAIT_S
        while True:
            self.requests += 1
            reply = await self.post(f"{self.base_url}/chat/completions", body)
            self._raise_if_hopeless(reply)
            if reply.status not in _BUSY:
                self._has_answered |= reply.status == 200
                return reply
            asked_s = wait_s(reply.headers, "")
            # A server that names no time is given a little more each time.
            await self._wait(pause_s if asked_s is None else asked_s, reply)
            pause_s *= 2

    async def _wait(self, wait_s: float, reply: Reply) -> None:
        if self._waited_s + wait_s > PATIENCE_S:
            until = (datetime.now(UTC) + timedelta(seconds=wait_s)).astimezone()
            raise ServerUnusable(
                f"busy: {reply}; try again after {until:%H:%M:%S on %d %B}"
            )
        self._waited_s += wait_s
        await asyncio.sleep(wait_s)

    async def _send(
        self, method: str, url: str, body: Mapping[str, Any] | None
    ) -> Reply:
        assert self._session is not None
        limit = self.settings.max_reply_mib * MIB
        try:
            async with self._session.request(
                # A redirect would take the key to another address.
                method,
                url,
                json=body,
                allow_redirects=False,
            ) as response:
                content = await read_body(response, limit)
        except ReplyTooLarge as error:
            raise ServerUnusable(f"{url}: {error}") from None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise ServerUnusable(self._masked(connection_problem(url, error))) from None
        self.headers |= {
            name.lower(): value for name, value in response.headers.items()
        }
        text = self._masked(content.decode("utf-8", "replace"))
        data = None
        with suppress(ValueError, RecursionError):
            data = json.loads(text)
        return Reply(url, _status(response.status, data), response.headers, text, data)

    def _masked(self, text: str) -> str:
        return mask_url_secrets(mask_secret(text, self._key))

    def _raise_if_hopeless(self, reply: Reply) -> None:
        if reply.status == 407:
            raise ServerUnusable(f"the proxy wants a password: {reply}")
        # Out of credit, and no waiting helps.
        if reply.status == 402 or "insufficient_quota" in reply.text:
            raise ServerUnusable(str(reply))
        # Once it has answered, other refusals are about what was asked.
        if self._has_answered and reply.status != 401:
            return
        if reply.refuses_key:
            raise ServerUnusable(key_problem(reply, self.settings))
        if reply.status == 404:
            raise ServerUnusable(f"{reply.url}: {reply}")


def key_problem(reply: Reply, settings: ServerSettings) -> str:
    """Say why a server refuses the caller. Never the key."""
    variable = settings.api_key_env
    try:
        is_set = bool(read_api_key(settings.api_key_env))
    except SetupError as error:
        return str(error)
    if not variable:
        return f"{reply}: no key is sent; api_key_env names no variable"
    if not is_set:
        return f"{reply}: the key in {variable} is not set"
    if reply.status == 403:
        return f"{reply}: the key in {variable} is wrong, or may not do this"
    return f"{reply}: the key in {variable} is wrong"


def connection_problem(url: str, error: BaseException) -> str:
    """Say in plain words why there is no connection."""
    host = urlsplit(url).netloc.rpartition("@")[2]
    if isinstance(
        error, (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError)
    ):
        why = (
            f"the TLS certificate of {host} is not trusted ({_innermost(error)}); "
            "SSL_CERT_FILE names a file with the authority that signed it"
        )
    elif isinstance(error, (aiohttp.ClientSSLError, ssl.SSLError)):
        why = f"{host} does not speak TLS; does base_url begin with http://?"
    elif isinstance(error, aiohttp.ClientHttpProxyError):
        why = f"the proxy answers HTTP {error.status} {error.message}"
    elif _is_name_error(error):
        why = f"the name of the host in {host} is not known"
    elif isinstance(error, TimeoutError):
        why = f"{host} does not answer in time"
    elif _has_cause(error, ConnectionRefusedError):
        why = f"{host} refuses the connection; is the server running?"
    else:
        why = f"{type(error).__name__}: {error}"
    return f"{url}: not reachable: {why}{_proxy_note(url)}"


def _proxy_note(url: str) -> str:
    proxy = proxy_for(url)
    if not proxy:
        return ""
    shown = mask_url_secrets(proxy)
    return f" (through the proxy {shown}, which the environment names; NO_PROXY lists exceptions)"


def _is_name_error(error: BaseException) -> bool:
    return isinstance(error, aiohttp.ClientConnectorDNSError) or _has_cause(
        error, socket.gaierror
    )


def _has_cause(error: BaseException | None, kind: type[BaseException]) -> bool:
    """Return whether an error, or one that it was raised from, is of a kind."""
    while error is not None:
        inner = getattr(error, "os_error", None)
        if isinstance(error, kind) or isinstance(inner, kind):
            return True
        error = error.__cause__ or error.__context__
    return False


def _innermost(error: BaseException) -> str:
    inner = getattr(error, "certificate_error", error)
    return str(getattr(inner, "verify_message", "")) or type(inner).__name__


def _message(data: Any) -> str:
    """Return the message in an error body of any of the usual forms; empty if there is none."""
    if isinstance(data, str):
        return data
    if isinstance(data, list):
        return "; ".join(filter(None, map(_message, data[:3])))
    if not isinstance(data, dict):
        return ""
    for name in ("error", "message", "msg", "detail"):
        if data.get(name):
            message = _message(data[name])
            place = data.get("loc")
            if message and isinstance(place, list):
                return f"{'.'.join(map(str, place))}: {message}"
            if message:
                return message
    return ""


def _status(status: int, data: Any) -> int:
    """Return the HTTP status, or that of an error that came under HTTP 200."""
    if status != 200 or not isinstance(data, dict) or not data.get("error"):
        return status
    error = data["error"]
    code = str(error.get("code")) if isinstance(error, dict) else ""
    is_status = code.isdecimal() and 400 <= int(code) < 600
    return int(code) if is_status else 400
