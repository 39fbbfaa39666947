"""The door over real HTTP and real websockets, in front of an application that says yes."""

import asyncio
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import aiohttp
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from aidsafe_dagster.web_ui.door import Door, loopback_hosts
from tests.serving import a_free_port

JSON = {"Content-Type": "application/json"}
QUERY = b'{"query": "mutation { launch }"}'
REFUSED = 403


async def _say_yes(request: Request) -> PlainTextResponse:
    return PlainTextResponse("yes")


async def _accept(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("yes")
    await websocket.close()


def _dagster_like() -> Starlette:
    return Starlette(
        routes=[
            Route("/graphql", _say_yes, methods=["GET", "POST"]),
            WebSocketRoute("/graphql", _accept),
            Route("/report_asset_materialization/x", _say_yes, methods=["POST"]),
            Route("/{path:path}", _say_yes),
        ]
    )


@dataclass(frozen=True)
class Site:
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def status(
        self,
        method: str = "GET",
        path: str = "/",
        data: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
    ) -> int:
        """Return the status of the reply."""

        async def ask() -> int:
            async with (
                aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as session,
                session.request(
                    method,
                    self.url + path,
                    data=data or None,
                    headers=headers,
                    allow_redirects=False,
                ) as reply,
            ):
                return reply.status

        return asyncio.run(ask())

    def raw_status(self, *lines: str) -> int:
        """Return the status of the reply to exactly these lines."""
        request = "\r\n".join([*lines, "Connection: close", "", ""])
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            connection.sendall(request.encode())
            reply = connection.makefile("rb").readline()
        return int(reply.split()[1])

    def websocket_opens(self, **headers: str) -> bool:
        async def connect() -> bool:
            async with aiohttp.ClientSession(headers=headers) as session:
                try:
                    async with session.ws_connect(f"{self.url}/graphql") as opened:
                        return await opened.receive_str() == "yes"
                except aiohttp.WSServerHandshakeError:
                    return False

        return asyncio.run(connect())


@contextmanager
def a_guarded_site(token: str = "") -> Iterator[Site]:
    port = a_free_port()
    door = Door(_dagster_like(), loopback_hosts(port), token)
    # The newer of uvicorn's two websocket servers; the other one warns that it is deprecated.
    config = uvicorn.Config(
        door, port=port, log_level="critical", lifespan="off", ws="websockets-sansio"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
        yield Site(port)
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with a_guarded_site() as guarded:
        yield guarded


def test_what_the_ui_itself_sends_gets_in(site: Site) -> None:
    own = {"Origin": site.url, "Sec-Fetch-Site": "same-origin"}
    assert site.status(headers={"Sec-Fetch-Site": "none"}) == 200
    assert site.status("POST", "/graphql", QUERY, headers=own | JSON) == 200
    assert site.websocket_opens(Origin=site.url)


def test_a_script_on_this_machine_gets_in(site: Site) -> None:
    assert site.status("POST", "/graphql", QUERY, headers=JSON) == 200


@pytest.mark.parametrize("path", ["/graphql", "/graphql/", "/x/graphql"])
def test_graphql_by_get_is_refused(site: Site, path: str) -> None:
    assert site.status(path=f"{path}?query=mutation%7Blaunch%7D") == REFUSED


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/graphql",
        # A page may send this one, and Dagster looks for the words anywhere in it.
        "text/plain; charset=application/json",
        "",
    ],
)
def test_graphql_in_a_form_that_any_page_may_send_is_refused(
    site: Site, content_type: str
) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    assert site.status("POST", "/graphql", QUERY, headers=headers) == REFUSED


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "http://127.0.0.1",
        "http://127.0.0.1.evil.example",
    ],
)
def test_another_page_s_origin_is_refused(site: Site, origin: str) -> None:
    headers = {"Origin": origin, **JSON}
    report = "/report_asset_materialization/x"
    assert site.status("POST", "/graphql", QUERY, headers=headers) == REFUSED
    assert site.status("POST", report, headers=headers) == REFUSED
    assert not site.websocket_opens(Origin=origin)


def test_a_page_of_another_port_on_this_machine_is_refused(site: Site) -> None:
    headers = {"Origin": f"http://127.0.0.1:{site.port + 1}", **JSON}
    assert site.status("POST", "/graphql", QUERY, headers=headers) == REFUSED


@pytest.mark.parametrize("fetch_site", ["cross-site", "same-site"])
def test_what_the_browser_calls_another_site_s_is_refused(
    site: Site, fetch_site: str
) -> None:
    headers = {"Sec-Fetch-Site": fetch_site}
    assert site.status(path="/logs/x", headers=headers) == REFUSED


def test_a_link_from_elsewhere_may_open_a_page_and_no_frame(site: Site) -> None:
    link = {
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-Dest": "document",
    }
    assert site.status(path="/runs", headers=link) == 200
    frame = link | {"Sec-Fetch-Dest": "iframe"}
    assert site.status(path="/runs", headers=frame) == REFUSED


@pytest.mark.parametrize("host", ["evil.example", "evil.example:3000", "127.0.0.1"])
def test_a_name_that_is_not_this_server_s_is_refused(site: Site, host: str) -> None:
    assert site.status(headers={"Host": host}) == REFUSED


@pytest.mark.parametrize("method", ["HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_graphql_by_any_other_method_is_refused(site: Site, method: str) -> None:
    assert site.status(method, "/graphql?query=mutation%7Blaunch%7D") == REFUSED


@pytest.mark.parametrize("path", ["/%67raphql", "/graphql%2F", "//graphql"])
def test_a_path_in_disguise_is_looked_at_as_the_server_will_read_it(
    site: Site, path: str
) -> None:
    line = f"GET {path}?query=mutation%7Blaunch%7D HTTP/1.1"
    assert site.raw_status(line, f"Host: 127.0.0.1:{site.port}") == REFUSED


@pytest.mark.parametrize("body", [QUERY, b"[" + QUERY + b"]", b"x", b""])
def test_the_body_makes_no_difference_to_who_gets_in(site: Site, body: bytes) -> None:
    foreign = {"Origin": "http://evil.example", **JSON}
    assert site.status("POST", "/graphql", body, headers=foreign) == REFUSED


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ("Host:",),
        ("Host: evil.example",),
        ("Host: evil.example", "X-Forwarded-Host: 127.0.0.1:{port}"),
        ("Host: evil.example", "Forwarded: host=127.0.0.1:{port}"),
        ("Host: 127.0.0.1:{port}@evil.example",),
    ],
)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_without_its_own_name_in_host_a_request_is_refused_whatever_else_it_says(
    site: Site, headers: Sequence[str], version: str
) -> None:
    lines = [header.format(port=site.port) for header in headers]
    # Without a host, HTTP/1.1 is no HTTP: the server says so before the door is asked.
    assert site.raw_status(f"GET /runs HTTP/{version}", *lines) in (400, REFUSED)


def test_with_its_own_name_an_old_client_gets_in(site: Site) -> None:
    host = f"Host: 127.0.0.1:{site.port}"
    assert site.raw_status("GET /runs HTTP/1.0", host) == 200


def test_a_script_s_websocket_without_an_origin_gets_in_and_one_by_another_name_not(
    site: Site,
) -> None:
    assert site.websocket_opens()
    assert not site.websocket_opens(Host="evil.example")
    assert not site.websocket_opens(Origin="null")


def test_with_a_token_nobody_gets_in_without_it() -> None:
    with a_guarded_site(token="s3cret") as guarded:
        assert guarded.status() == REFUSED
        assert guarded.status(path="/?token=wrong") == REFUSED
        assert guarded.status(headers={"Cookie": "aidsafe_token=wrong"}) == REFUSED
        assert not guarded.websocket_opens()
        assert not guarded.websocket_opens(Authorization="Bearer wrong")
        assert guarded.status("POST", "/graphql", QUERY, headers=JSON) == REFUSED
        report = "/report_asset_materialization/x"
        assert guarded.status("POST", report, b"{}", headers=JSON) == REFUSED
        # The link that was printed puts the token into a cookie, and out of the address.
        assert guarded.status(path="/?token=s3cret") == 303
        cookie = {"Cookie": "aidsafe_token=s3cret"}
        assert guarded.status(headers=cookie) == 200
        assert guarded.status(headers={"Authorization": "Bearer s3cret"}) == 200
        assert guarded.websocket_opens(**cookie)
