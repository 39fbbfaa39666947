"""A model server on loopback whose every reply a test decides, in the dialects of real servers."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USAGE = {
    "prompt_tokens": 30,
    "completion_tokens": 5,
    "prompt_tokens_details": {"cached_tokens": 16},
}


@dataclass(frozen=True)
class Reply:
    """What the server sends back."""

    body: Any
    """Bytes or a text as they are, anything else as JSON."""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        if isinstance(self.body, str):
            return self.body.encode()
        return json.dumps(self.body).encode()


@dataclass(frozen=True)
class Received:
    """A request as it came."""

    method: str
    path: str
    """With the address of the server before it where the request came through a proxy."""
    headers: Mapping[str, str]
    body: Any


Answer = Callable[[Received], Reply]


@dataclass
class DialectServer:
    port: int
    requests: list[Received] = field(default_factory=list)

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        return f"{self.root}/v1"

    @property
    def chats(self) -> list[Received]:
        """The requests for a completion."""
        return [request for request in self.requests if request.method == "POST"]

    @property
    def body(self) -> Any:
        """The body of the one request for a completion."""
        (chat,) = self.chats
        return chat.body


@contextmanager
def a_dialect_server(
    answer: Answer | Reply, models: Reply | None = None
) -> Iterator[DialectServer]:
    """Serve the same reply to each request for a completion, or what a function makes of it.

    It serves one model, `served-model`, if it does not reply with `models`.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            self._serve(json.loads(self.rfile.read(length)))

        def do_GET(self) -> None:
            self._serve(None)

        def _serve(self, body: Any) -> None:
            # A header's name may come in any case.
            headers = {name.title(): value for name, value in self.headers.items()}
            received = Received(self.command, self.path, headers, body)
            state.requests.append(received)
            reply = _reply_to(received)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.content)))
            self.end_headers()
            self.wfile.write(reply.content)

        def log_message(self, *_: Any) -> None:
            pass

    def _reply_to(received: Received) -> Reply:
        if received.method == "GET":
            return models or MODELS
        return answer if isinstance(answer, Reply) else answer(received)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state = DialectServer(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


MODELS = Reply({"object": "list", "data": [{"id": "served-model"}]})


def a_reply(content: Any = "{}", finish: str | None = "stop", **message: Any) -> Reply:
    """Make a reply of the standard form. `message` are further fields of the message."""
    return Reply(a_chat_completion(content, finish, **message))


def a_chat_completion(
    content: Any = "{}", finish: str | None = "stop", **message: Any
) -> dict[str, Any]:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": content, **message},
        "finish_reason": finish,
    }
    return {"model": "m-1", "choices": [choice], "usage": USAGE}


def an_error(
    status: int,
    message: str,
    code: Any = None,
    headers: Mapping[str, str] | None = None,
    **fields: Any,
) -> Reply:
    """Make an error as OpenAI words it. `fields` are further ones, such as `type` and `param`."""
    error = {"message": message, "code": code, **fields}
    return Reply({"error": error}, status, headers or {})
