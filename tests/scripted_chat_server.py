"""A chat server on loopback that answers by a function of the test's, over real HTTP."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[dict[str, Any]], str | int]
"""From a request's body to the text of the answer, or to an HTTP status that refuses it."""


@dataclass
class ScriptedChatServer:
    base_url: str
    requests: list[dict[str, Any]] = field(default_factory=list)
    """Bodies of all requests, in the order in which they came."""


@contextmanager
def a_scripted_chat_server(answer: Answer) -> Iterator[ScriptedChatServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            served.requests.append(body)
            try:
                said = answer(body)
            except (
                Exception
            ) as error:  # the test's own mistake: no attempt at this request can succeed
                self._reply(400, repr(error).encode())
                raise
            self._reply(said if isinstance(said, int) else 200, _completion(body, str(said)))

        def do_GET(self) -> None:
            self._reply(200, b'{"data": []}')

        def _reply(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with suppress(BrokenPipeError):  # nobody waits for it any more
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    served = ScriptedChatServer(f"http://127.0.0.1:{server.server_address[1]}/v1")
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _completion(body: dict[str, Any], text: str) -> bytes:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return json.dumps({"model": body["model"], "choices": [choice], "usage": {}}).encode()
