"""A door in front of the object store, by which a test makes it busy, slow, or silent."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tests.distributed.object_store import ObjectStore

_BUSY = (
    b'<?xml version="1.0" encoding="UTF-8"?>'
    b"<Error><Code>ServiceUnavailable</Code><Message>Please try again.</Message></Error>"
)
_SLOW_S = 1.5
_LONGEST_SILENCE_S = 300.0


@dataclass
class Faults:
    """What the store does at this moment."""

    is_busy: bool = False
    """It answers 503."""
    is_slow: bool = False
    is_silent: bool = False
    """It takes requests and does not answer, until that is over."""
    met: int = 0
    """Requests that met any of it."""
    over: threading.Event = field(default_factory=threading.Event)

    def begin(self) -> None:
        """Count anew what meets a fault."""
        self.met = 0
        self.over.clear()

    def end(self) -> None:
        """Behave well from now on."""
        self.is_busy = self.is_slow = self.is_silent = False
        self.over.set()


@contextmanager
def a_faulty(store: ObjectStore) -> Iterator[tuple[ObjectStore, Faults]]:
    """Yield the store at an address of its own, and what is wrong with it."""
    faults = Faults()
    target = urlsplit(store.endpoint).netloc

    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if faults.is_silent:
                faults.met += 1
                faults.over.wait(_LONGEST_SILENCE_S)
                self.close_connection = True
                return
            if faults.is_slow:
                faults.met += 1
                time.sleep(_SLOW_S)
            if faults.is_busy:
                faults.met += 1
                self._send(503, {"Content-Type": "application/xml"}, _BUSY)
                return
            connection = HTTPConnection(target, timeout=60)
            connection.request(self.command, self.path, body, dict(self.headers))
            reply = connection.getresponse()
            content = reply.read()
            self._send(reply.status, dict(reply.getheaders()), content)
            connection.close()

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer  # noqa: N815

        def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "transfer-encoding"):
                    self.send_header(name, value)
            length = headers.get("Content-Length", str(len(body)))
            self.send_header(
                "Content-Length", length if self.command == "HEAD" else str(len(body))
            )
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # a client that has given up

    server = Server(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield ObjectStore(f"http://127.0.0.1:{server.server_port}"), faults
    finally:
        faults.end()
        server.shutdown()
        server.server_close()
