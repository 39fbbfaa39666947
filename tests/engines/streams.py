"""A model server on loopback that writes its answers as streams, and notices who leaves."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USAGE = {"prompt_tokens": 30, "completion_tokens": 5}


@dataclass(frozen=True)
class Stream:
    """What one request is answered with."""

    deltas: Sequence[dict[str, Any]]
    finish: str | None = "stop"
    usage: dict[str, Any] | None = field(default_factory=lambda: USAGE)
    ends_properly: bool = True
    """False: the connection is cut."""
    wait_s: float = 0.0
    """Between two deltas."""
    last: dict[str, Any] | None = None
    """One more event, such as an error."""


def spoken(
    text: str, size: int = 12, field_name: str = "content"
) -> list[dict[str, Any]]:
    """Return a text as deltas of so many characters."""
    return [
        {field_name: text[start : start + size]} for start in range(0, len(text), size)
    ]


Script = Callable[[dict[str, Any]], Stream | tuple[int, dict[str, Any]]]


@dataclass
class StreamServer:
    port: int = 0
    bodies: list[dict[str, Any]] = field(default_factory=list)
    written: list[int] = field(default_factory=list)
    """Deltas of each stream that were written before its end, or before the client left."""

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"


@contextmanager
def a_stream_server(script: Script) -> Iterator[StreamServer]:
    """Answer requests for a stream as a script says, others with the same as a whole."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = json.loads(self.rfile.read(length))
            state.bodies.append(body)
            answer = script(body)
            if isinstance(answer, tuple):
                self._send_whole(*answer)
            elif body.get("stream"):
                self._send_stream(answer)
            else:
                self._send_whole(200, _whole(answer))

        def _send_whole(self, status: int, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _send_stream(self, stream: Stream) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream; charset=utf-8")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            place = len(state.written)
            state.written.append(0)
            try:
                for delta in stream.deltas:
                    self._send_event(_event(delta=delta, finish_reason=None))
                    state.written[place] += 1
                    time.sleep(stream.wait_s)
                self._send_end(stream)
            except OSError:
                # The client has left.
                self.close_connection = True

        def _send_end(self, stream: Stream) -> None:
            if not stream.ends_properly:
                self.close_connection = True
                return
            if stream.last:
                self._send_event(stream.last)
            if stream.finish:
                self._send_event(_event(delta={}, finish_reason=stream.finish))
            if stream.usage:
                self._send_event({"choices": [], "usage": stream.usage})
            self._send_chunk(b"data: [DONE]\n\n")
            self._send_chunk(b"")

        def _send_event(self, event: dict[str, Any]) -> None:
            # Some servers end lines this way, and send comments to keep the connection open.
            text = json.dumps(event, ensure_ascii=False)
            self._send_chunk(f": wait\r\n\r\ndata: {text}\r\n\r\n".encode())

        def _send_chunk(self, data: bytes) -> None:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state = StreamServer(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _event(**choice: Any) -> dict[str, Any]:
    return {"model": "m-1", "choices": [{"index": 0, **choice}]}


def _whole(stream: Stream) -> dict[str, Any]:
    message: dict[str, str] = {}
    for delta in stream.deltas:
        for name, piece in delta.items():
            message[name] = message.get(name, "") + piece
    choice = {"index": 0, "message": message, "finish_reason": stream.finish}
    return {"model": "m-1", "choices": [choice], "usage": stream.usage}
