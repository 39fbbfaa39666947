"""The door in front of Dagster's web server: who may ask it for what.

Dagster's own server runs mutations that arrive by GET and looks at neither `Host` nor `Origin`. So
any page in the user's browser could start runs. The door lets through what the UI and scripts on
this machine send, and refuses the rest:

- a `Host` that is not this server's (DNS rebinding);
- an `Origin` that is not this server's, and what the browser itself calls cross-site;
- GraphQL by GET, and by POST in a form that a page could send without asking first;
- with a token, everything that does not know it (other users of a shared machine).

A request without `Origin` and `Sec-Fetch-Site` comes from no page: browsers set them.
"""

import hmac
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "aidsafe_token"
TOKEN_PARAMETER = "token"  # noqa: S105 - the name of a parameter
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_GRAPHQL = "/graphql"
_OWN_PAGES = {"same-origin", "none"}
"""Values of `Sec-Fetch-Site` of the UI's own requests, and of an address that somebody typed."""


class Refused(Exception):
    """A request that does not get in. The message is the reply's text."""


class Door:
    """An ASGI application that passes on the requests that may get in.

    Args:
        app: Dagster's web server.
        hosts: 'host:port' as in the `Host` header, under which the server is known.
        token: what a request has to know; empty: nothing.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], token: str = "") -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope)
        except Refused as error:
            await _refuse(scope, receive, send, str(error))
            return
        token = self._token_in_address(scope)
        if token:
            # The token leaves the address, so that it is in no history and no link.
            reply = RedirectResponse(scope["path"], status_code=303)
            reply.set_cookie(COOKIE, token, httponly=True, samesite="strict")
            await reply(scope, receive, send)
            return
        await self._app(scope, receive, _with_protection(send))

    def _check(self, scope: Scope) -> None:
        """Raise Refused unless the request may get in."""
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        if host not in self._hosts:
            raise Refused(
                "This server does not go by that name; use the address it printed"
            )
        self._check_site(scope, headers)
        if scope["type"] == "http" and scope["path"].rstrip("/").endswith(_GRAPHQL):
            _check_graphql(scope, headers)
        if self._token and not self._knows_token(scope, headers):
            raise Refused("Open the link that the server printed: it holds the token")

    def _check_site(self, scope: Scope, headers: Headers) -> None:
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() not in self._hosts:
            raise Refused("Requests of other pages are refused")
        site = headers.get("sec-fetch-site", "none")
        # A link from elsewhere may open a page of the UI, and nothing else.
        is_link = (
            scope["type"] == "http"
            and scope["method"] == "GET"
            and headers.get("sec-fetch-mode") == "navigate"
            and headers.get("sec-fetch-dest") == "document"
        )
        if site not in _OWN_PAGES and not is_link:
            raise Refused("Requests of other pages are refused")

    def _knows_token(self, scope: Scope, headers: Headers) -> bool:
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        presented = (bearer, _cookie(headers), self._token_in_address(scope))
        return any(_is_equal(value, self._token) for value in presented)

    def _token_in_address(self, scope: Scope) -> str:
        if not self._token or scope["type"] != "http":
            return ""
        query = parse_qs(scope["query_string"].decode("latin-1"))
        value = query.get(TOKEN_PARAMETER, [""])[0]
        return value if _is_equal(value, self._token) else ""


def loopback_hosts(port: int) -> list[str]:
    """Return the names under which a server on a loopback port is known."""
    return [f"{name}:{port}" for name in _LOOPBACK]


def _check_graphql(scope: Scope, headers: Headers) -> None:
    """Refuse GraphQL that a page of another site could send, or that a link could hold."""
    if scope["method"] == "GET":
        # Without a query it is only the page on which to write one.
        if scope["query_string"]:
            raise Refused("GraphQL by GET is refused; send it by POST")
        return
    # A page may send forms and plain text to anybody; for JSON, browsers ask first.
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise Refused("GraphQL is taken as application/json alone")


def _cookie(headers: Headers) -> str:
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookies[COOKIE].value if COOKIE in cookies else ""


def _is_equal(value: str, token: str) -> bool:
    # In constant time, so that the token cannot be guessed letter by letter.
    return hmac.compare_digest(value.encode(), token.encode())


def _with_protection(send: Send) -> Send:
    """Add headers that keep other pages from framing the UI and from reading its files."""

    async def send_protected(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["X-Frame-Options"] = "DENY"
            headers["Cross-Origin-Resource-Policy"] = "same-origin"
            headers["Referrer-Policy"] = "same-origin"
        await send(message)

    return send_protected


async def _refuse(scope: Scope, receive: Receive, send: Send, reason: str) -> None:
    if scope["type"] == "websocket":
        # Closed before it was accepted: the browser sees HTTP 403.
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": reason})
        return
    await PlainTextResponse(f"{reason}.\n", status_code=403)(scope, receive, send)
