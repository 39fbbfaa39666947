"""The load of a model server over a run: read from its `/metrics`, in vLLM's names.

The figures are the server's, so they hold the calls of every run that used it in that time. A server without such a
page gives no figures, and that is no error.
"""

import asyncio
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import aiohttp

EVERY_S = 1.0
_LINE = re.compile(r"^(vllm:\w+)(?:\{[^}]*\})?\s+([0-9.eE+-]+)", re.MULTILINE)
_COUNTERS = (
    "prompt_tokens_total",
    "generation_tokens_total",
    "prefix_cache_hits_total",
    "prefix_cache_queries_total",
)


@dataclass
class ServerLoad:
    """What was seen: a sample a second, and the growth of the counters."""

    gpus: int = 0
    started: float = field(default_factory=time.monotonic)
    at_s: list[float] = field(default_factory=list)
    running: list[float] = field(default_factory=list)
    waiting: list[float] = field(default_factory=list)
    grown: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_COUNTERS, 0.0))
    _last: dict[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return self.at_s[-1] - self.at_s[0] if self.at_s else 0.0

    @property
    def tokens_per_second(self) -> float:
        """Generated tokens."""
        return self.grown["generation_tokens_total"] / self.seconds if self.seconds else 0.0

    @property
    def queue_share(self) -> float:
        """Of the calls at the server, those that waited for a slot, 0 to 1."""
        calls = sum(self.running) + sum(self.waiting)
        return sum(self.waiting) / calls if calls else 0.0

    @property
    def prefix_share(self) -> float | None:
        """Of the prompt tokens looked up in the prefix cache, those found, 0 to 1; None if none were looked up."""
        queries = self.grown["prefix_cache_queries_total"]
        return self.grown["prefix_cache_hits_total"] / queries if queries else None

    def note(self, page: str) -> None:
        """Takes a sample from a page of metrics; values of several engines are added up."""
        values: dict[str, float] = {}
        for name, value in _LINE.findall(page):
            key = name.removeprefix("vllm:")
            values[key] = values.get(key, 0.0) + float(value)
        if "num_requests_running" not in values:
            return
        self.at_s.append(time.monotonic() - self.started)
        self.running.append(values["num_requests_running"])
        self.waiting.append(values.get("num_requests_waiting", 0.0))
        for counter in _COUNTERS:
            now = values.get(counter, 0.0)
            last = self._last.get(counter, now)
            self.grown[counter] += (
                now - last if now >= last else now
            )  # a server that was started again counts from 0
            self._last[counter] = now


async def watch(load: ServerLoad, metrics_url: Callable[[], str | None]) -> None:
    """Samples for ever; to be cancelled. The URL may become known, or change, on the way."""
    async with _session() as session:
        while True:
            await _sample(load, session, metrics_url())
            await asyncio.sleep(EVERY_S)


async def take_last_sample(load: ServerLoad, url: str | None) -> None:
    """One more, so that the counters hold the whole run."""
    async with _session() as session:
        await _sample(load, session, url)


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))


async def _sample(load: ServerLoad, session: aiohttp.ClientSession, url: str | None) -> None:
    if url is None:
        return
    with suppress(aiohttp.ClientError, TimeoutError, OSError):
        async with session.get(url) as reply:
            if reply.status == 200:
                load.note(await reply.text())
