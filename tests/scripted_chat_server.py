"""A chat server on loopback that answers with a function of the test, over real HTTP."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class ReplyFields(dict[str, Any]):
    """Fields of the reply itself, beside the choices. Any other dict has those of the message."""


Answer = Callable[[dict[str, Any]], str | int | dict[str, Any]]
"""Takes the body of a request and returns the text of the answer, the fields of its message, or an
HTTP error status."""


@dataclass
class ScriptedChatServer:
    base_url: str
    requests: list[dict[str, Any]] = field(default_factory=list)
    """Bodies of all requests, in the order in which they arrived."""


@contextmanager
def a_scripted_chat_server(
    answer: Answer, models: tuple[str, ...] = ()
) -> Iterator[ScriptedChatServer]:
    """Run a server for as long as the block lasts; `models` are the names that it lists."""
    listed = json.dumps({"data": [{"id": model} for model in models]}).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            chat_server.requests.append(body)
            try:
                answered = answer(body)
            except Exception as error:
                # The test itself is wrong. Status 400 keeps the engine from trying again.
                self._reply(400, repr(error).encode())
                raise
            status = answered if isinstance(answered, int) else 200
            self._reply(status, _completion(body, answered))

        def do_GET(self) -> None:
            self._reply(200, listed)

        def _reply(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            # The client may have given up by now.
            with suppress(BrokenPipeError):
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}
    )
    thread.start()
    chat_server = ScriptedChatServer(f"http://127.0.0.1:{server.server_address[1]}/v1")
    try:
        yield chat_server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _completion(body: dict[str, Any], answer: str | int | dict[str, Any]) -> bytes:
    reply: dict[str, Any] = {"model": body["model"], "usage": {}}
    fields = answer if isinstance(answer, dict) else {"content": str(answer)}
    if isinstance(answer, ReplyFields):
        reply |= answer
        fields = {"content": "Hello"}
    choice = {
        "message": {"role": "assistant", **fields},
        "finish_reason": "stop",
    }
    return json.dumps(reply | {"choices": [choice]}).encode()
