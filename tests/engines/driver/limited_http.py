"""A limited server over HTTP: refuses with 429 what its limit does not admit."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.engines.driver.limited_servers import LimitedServer


@dataclass
class LimitedEndpoint:
    """A chat server behind a limit. `replies` has the time and the status of each."""

    limit: LimitedServer
    answer_s: float = 0.05
    tokens: int = 100
    """Of prompt and answer together, as its usage says."""
    base_url: str = ""
    replies: list[tuple[float, int]] = field(default_factory=list)
    _started: float = 0.0

    @property
    def answers(self) -> int:
        return sum(status == 200 for _, status in self.replies)

    @property
    def rejections(self) -> int:
        return len(self.replies) - self.answers

    async def chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        now = time.monotonic()
        # A limit counts from its first call.
        self._started = self._started or now
        reply = self.limit.admit(now - self._started, self.tokens)
        if not reply.is_admitted:
            self.replies.append((now, 429))
            headers = {}
            if reply.retry_after_s is not None:
                headers["Retry-After"] = f"{reply.retry_after_s:.3f}"
            error = {"error": {"message": "Rate limit reached", "code": 429}}
            return web.json_response(error, status=429, headers=headers)
        self.replies.append((now, 200))
        await asyncio.sleep(self.answer_s)
        return web.json_response(self._completion(body))

    def _completion(self, body: dict[str, Any]) -> dict[str, Any]:
        message = {"role": "assistant", "content": json.dumps({"belief": "Sure."})}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        prompt_tokens = self.tokens // 2
        usage = {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": self.tokens - prompt_tokens,
        }
        return {"model": body["model"], "choices": [choice], "usage": usage}


@contextmanager
def a_limited_endpoint(
    limit: LimitedServer, answer_s: float = 0.05, tokens: int = 100
) -> Iterator[LimitedEndpoint]:
    """Serve on loopback for as long as the block lasts."""
    endpoint = LimitedEndpoint(limit, answer_s, tokens)
    loop = asyncio.new_event_loop()
    started = threading.Event()
    stop = asyncio.Event()

    async def serve() -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", endpoint.chat)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        _, port = runner.addresses[0][:2]
        endpoint.base_url = f"http://127.0.0.1:{port}/v1"
        started.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    started.wait()
    try:
        yield endpoint
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
