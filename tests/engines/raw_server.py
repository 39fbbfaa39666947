"""A server on loopback that writes the very bytes that a test tells it to."""

import socketserver
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

Script = Callable[[bytes], Iterable[bytes]]
"""Takes a request, as it came, and yields the pieces of what is sent back, head and all."""


@dataclass
class RawServer:
    port: int
    requests: int = 0
    sent: int = 0
    """Bytes of the replies that were sent before the client left."""

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"


@contextmanager
def a_raw_server(script: Script) -> Iterator[RawServer]:
    is_over = threading.Event()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            request = self._request()
            if not request:
                return
            state.requests += 1
            with suppress(ConnectionError):
                for piece in script(request):
                    if is_over.is_set():
                        return
                    self.wfile.write(piece)
                    state.sent += len(piece)

        def _request(self) -> bytes:
            lines = []
            length = 0
            while (line := self.rfile.readline()) not in (b"\r\n", b""):
                lines.append(line)
                if line.lower().startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
            return b"".join(lines) + self.rfile.read(length)

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state = RawServer(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield state
    finally:
        is_over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def head(*fields: str, status: str = "200 OK") -> bytes:
    """Return the head of a reply that ends with the connection."""
    lines = [f"HTTP/1.1 {status}", "Connection: close", *fields, "", ""]
    return "\r\n".join(lines).encode()


def without_end(
    start: bytes, piece: bytes, wait_s: float = 0.0, most: int = 2**28
) -> Iterator[bytes]:
    """Yield the same piece again and again; an end far off keeps a failing test from hanging."""
    yield start
    for _ in range(most // len(piece)):
        yield piece
        if wait_s:
            time.sleep(wait_s)
