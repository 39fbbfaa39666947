"""A rate limiter against a limited server, in virtual time."""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass

from aidsafe_dagster.engines.driver.rate_limiter import RateLimiter
from aidsafe_dagster.engines.driver.rate_state import Limit, Mode, Send
from tests.engines.driver.limited_servers import LimitedServer, Reply

START = 1_000_000.0
_BACKOFF_S = 2.0
"""Of a call that is rejected while no limit is known."""


@dataclass(frozen=True)
class Load:
    """Independent calls, and how long they take, give or take."""

    calls: int = 300
    slots: int = 64
    answer_s: float = 0.05
    trip_s: float = 0.005
    """A rejection comes within this."""
    tokens: float = 100.0


class LimitedRun:
    """Brings calls to their ends. Timers ring up to 2 ms late."""

    def __init__(
        self, server: LimitedServer, limit: Limit, load: Load, seed: int = 0
    ) -> None:
        self.server = server
        self.load = load
        self.limiter = RateLimiter(limit)
        self.now = START
        self.sent = self.rejected = self.done = 0
        self.sent_later = self.rejected_later = 0
        """Of the calls after half of them were done."""
        self._waiting = load.calls
        self._in_flight = 0
        self._draw = random.Random(seed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._wakes_at = START

    @property
    def seconds(self) -> float:
        return self.now - START

    @property
    def later_share(self) -> float:
        """Share of the later calls that were rejected."""
        return self.rejected_later / max(1, self.sent_later)

    @property
    def ideal_s(self) -> float:
        load = self.load
        by_limit = self.server.ideal_s(load.calls, load.tokens)
        by_slots = load.calls * load.answer_s / load.slots
        return max(by_limit, by_slots) + load.answer_s

    def run(self) -> "LimitedRun":
        while self.done < self.load.calls:
            while self._waiting and self._in_flight < self.load.slots:
                wait_s = self.limiter.wait_s(self.now)
                if wait_s > 0:
                    self._wake_after(wait_s)
                    break
                self._send()
            self.now, _, event = heapq.heappop(self._events)
            event()
        return self

    def _send(self) -> None:
        self._waiting -= 1
        self._in_flight += 1
        tokens = self.load.tokens * self._draw.uniform(0.7, 1.3)
        send = self.limiter.take(self.now, self.load.tokens)
        is_later = self.done > self.load.calls / 2
        self.sent += 1
        self.sent_later += is_later
        arrives_s = self.now - START + self._draw.uniform(0, self.load.trip_s / 2)
        reply = self.server.admit(arrives_s, tokens)
        if reply.is_admitted:
            after_s = self.load.answer_s * self._draw.uniform(0.8, 1.2)
            self._after(after_s, lambda: self._answer(send, tokens))
        else:
            self.rejected += 1
            self.rejected_later += is_later
            after_s = self.load.trip_s * self._draw.uniform(0.5, 1.0)
            self._after(after_s, lambda: self._reject(send, reply))

    def _answer(self, send: Send, tokens: float) -> None:
        self.limiter.answer(self.now, send, tokens)
        self._in_flight -= 1
        self.done += 1

    def _reject(self, send: Send, reply: Reply) -> None:
        self.limiter.reject(self.now, send, reply.retry_after_s)
        self._in_flight -= 1
        if self.limiter.state.mode is Mode.FREE:
            wait_s = _BACKOFF_S * self._draw.uniform(0.5, 1.0)
            self._after(max(wait_s, reply.retry_after_s or 0.0), self._queue)
        else:
            self._queue()

    def _queue(self) -> None:
        self._waiting += 1

    def _wake_after(self, wait_s: float) -> None:
        at = self.now + wait_s + self._draw.uniform(0, 0.002)
        if at < self._wakes_at or self._wakes_at <= self.now:
            self._wakes_at = at
            self._after(at - self.now, lambda: None)

    def _after(self, seconds: float, event: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (self.now + seconds, self._count, event))
