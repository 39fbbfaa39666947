"""The load of a model server over a run, read from the `/metrics` of vLLM or of llama.cpp.

The figures are the server's, so they include the calls of every run that used it meanwhile. A
server without metrics gives no figures, which is no error.
"""

import asyncio
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import aiohttp

from aidsafe_dagster.engines.proxies import proxy_for
from aidsafe_dagster.engines.reply_body import (
    MAX_STATUS_BYTES,
    ReplyTooLarge,
    read_body,
)
from aidsafe_dagster.recipe.errors import SetupError

SAMPLE_INTERVAL_S = 1.0
_LINE = re.compile(
    r"^(vllm|llamacpp):(\w+)(?:\{[^}]*\})?\s+([0-9.eE+-]+)", re.MULTILINE
)
_LLAMACPP_NAMES = {
    "requests_processing": "num_requests_running",
    "requests_deferred": "num_requests_waiting",
    "tokens_predicted_total": "generation_tokens_total",
}
"""llama.cpp's name of a figure → vLLM's. Both call the tokens of prompts `prompt_tokens_total`.
llama.cpp does not tell how much of a prompt its cache held."""
_COUNTERS = (
    "prompt_tokens_total",
    "generation_tokens_total",
    "prefix_cache_hits_total",
    "prefix_cache_queries_total",
)
_ERRORS = (
    aiohttp.ClientError,
    TimeoutError,
    OSError,
    ReplyTooLarge,
    ValueError,
    SetupError,
)


@dataclass
class ServerLoad:
    """One sample a second, and the growth of the counters."""

    gpus: int = 0
    started: float = field(default_factory=time.monotonic)
    at_s: list[float] = field(default_factory=list)
    running: list[float] = field(default_factory=list)
    waiting: list[float] = field(default_factory=list)
    grown: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(_COUNTERS, 0.0)
    )
    _last: dict[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return self.at_s[-1] - self.at_s[0] if self.at_s else 0.0

    @property
    def tokens_per_second(self) -> float:
        """Tokens generated per second."""
        if not self.seconds:
            return 0.0
        return self.grown["generation_tokens_total"] / self.seconds

    @property
    def queue_share(self) -> float:
        """Share of the calls at the server that waited for a slot, 0 to 1."""
        calls = sum(self.running) + sum(self.waiting)
        return sum(self.waiting) / calls if calls else 0.0

    @property
    def prefix_share(self) -> float | None:
        """Hit rate of the prefix cache in prompt tokens, 0 to 1. None if nothing was looked up."""
        queries = self.grown["prefix_cache_queries_total"]
        if not queries:
            return None
        return self.grown["prefix_cache_hits_total"] / queries

    def add_sample(self, page: str) -> None:
        """Add a sample from a page of metrics, summed over the engines of the server."""
        values: dict[str, float] = {}
        for server, name, value in _LINE.findall(page):
            key = _LLAMACPP_NAMES.get(name, name) if server == "llamacpp" else name
            values[key] = values.get(key, 0.0) + _figure(value)
        # Another server's page: without these names there is nothing to show.
        if "num_requests_running" not in values:
            return
        now = time.monotonic() - self.started
        self.at_s.append(now)
        self.running.append(values["num_requests_running"])
        self.waiting.append(values.get("num_requests_waiting", 0.0))
        for counter in _COUNTERS:
            value = values.get(counter, 0.0)
            # At the first sample nothing has grown: earlier counts belong to earlier runs.
            last = self._last.get(counter, value)
            # The server was restarted, and counts from 0 again.
            if value < last:
                last = 0.0
            self.grown[counter] += value - last
            self._last[counter] = value


def _figure(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


async def watch(load: ServerLoad, metrics_url: Callable[[], str | None]) -> None:
    """Take samples until cancelled. The URL may become known, or change, on the way."""
    async with _new_session() as session:
        while True:
            await _take_sample(load, session, metrics_url())
            await asyncio.sleep(SAMPLE_INTERVAL_S)


async def take_last_sample(load: ServerLoad, url: str | None) -> None:
    """Take one more sample, so that the counters cover the whole run."""
    async with _new_session() as session:
        await _take_sample(load, session, url)


def _new_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))


async def _take_sample(
    load: ServerLoad, session: aiohttp.ClientSession, url: str | None
) -> None:
    if url is None:
        return
    # A figure that is missing must not cost a run that goes well otherwise.
    with suppress(*_ERRORS):
        async with session.get(
            url, proxy=proxy_for(url), allow_redirects=False
        ) as response:
            if response.status == 200:
                page = await read_body(response, MAX_STATUS_BYTES)
                load.add_sample(page.decode("utf-8", "replace"))
