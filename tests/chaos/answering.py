"""The program of the model server: the simulated one, with odd replies and a file of its answers.

What a request is answered depends on its body alone, so a clean run and a run full of faults get
the same texts. Errors, cut connections and slowness come by attempt, as in `model_server.py`. The
file outlives the server, which is killed now and then.
"""

import argparse
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import yaml
from aiohttp import web

from tests.model_server import ChatRequest, Reply, Server, uniform

BAD_SHARE = 0.05
"""Of structured requests, whose first answer is cut in half."""
ODD_USAGE_SHARE = 0.1
ODD_USAGES: tuple[Any, ...] = (
    None,
    [],
    {"prompt_tokens": "many", "completion_tokens": -3},
    {"prompt_tokens": 12.7, "completion_tokens": 1e30},
    {"completion_tokens": {"a": 1}},
)
ASKED_AGAIN = "That answer cannot be used"
"""From the template by which a dialogue asks again. Its answer is never spoilt."""


class ChaosServer(Server):
    """A server that writes down what it answers, and quotes the key in its errors."""

    def __init__(self, settings: Mapping[str, Any], answers: Path) -> None:
        super().__init__(settings)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._answers = os.open(answers, flags, 0o644)

    def _content(
        self, chat: ChatRequest, reply: Reply, fault: str | None
    ) -> tuple[str, str]:
        """Return an answer that may be cut in half, on whatever attempt it is given."""
        return super()._content(
            chat, reply, "bad_content" if self._is_bad(chat) else fault
        )

    def _is_bad(self, chat: ChatRequest) -> bool:
        if not chat.is_structured or ASKED_AGAIN in chat.messages[-1][1]:
            return False
        return uniform(self.config["seed"], "bad", body_hash(chat)) < BAD_SHARE

    def _count_answer(
        self, chat: ChatRequest, reply: Reply, fault: str | None, work: float
    ) -> None:
        super()._count_answer(chat, reply, fault, work)
        if fault != "bad_body":
            # One write per line, so that a kill leaves no half line behind.
            os.write(self._answers, f"{body_hash(chat)}\n".encode())

    async def _respond(
        self,
        request: web.Request,
        chat: ChatRequest,
        content: str,
        finish: str,
        tokens: int,
        fault: str | None,
    ) -> web.StreamResponse:
        response = await super()._respond(request, chat, content, finish, tokens, fault)
        draw = uniform(self.config["seed"], "usage", body_hash(chat))
        is_whole = isinstance(response, web.Response) and fault != "bad_body"
        if not is_whole or draw >= ODD_USAGE_SHARE:
            return response
        assert isinstance(response, web.Response)
        assert isinstance(response.body, bytes)
        body = orjson.loads(response.body)
        usage = ODD_USAGES[int(draw / ODD_USAGE_SHARE * len(ODD_USAGES))]
        text = json.dumps(body | {"usage": usage})
        return web.Response(text=text, content_type="application/json")

    async def chat(self, request: web.Request) -> web.StreamResponse:
        response = await super().chat(request)
        if response.status >= 400 and isinstance(response, web.Response):
            key = request.headers.get("Authorization", "")
            message = f"{response.text} (for {key})"
            error = {"error": {"message": message, "type": "server_error"}}
            wait = response.headers.get("Retry-After")
            headers = {"Retry-After": wait} if wait else None
            return web.json_response(error, status=response.status, headers=headers)
        return response


def body_hash(chat: ChatRequest) -> str:
    """Return what tells a request from every other one, however its answer is to be sent."""
    names = ("messages", "seed", "temperature", "model")
    body = orjson.dumps([chat.body.get(name) for name in names])
    return hashlib.blake2b(body, digest_size=12).hexdigest()


def main() -> None:
    """Serve until the process is killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    rules = yaml.safe_load((arguments.folder / "rules.yaml").read_text())
    server = ChaosServer(rules, arguments.folder / "answers")
    web.run_app(
        server.application(),
        host="127.0.0.1",
        port=arguments.port,
        access_log=None,
        handler_cancellation=True,
        print=None,
    )


if __name__ == "__main__":
    main()
