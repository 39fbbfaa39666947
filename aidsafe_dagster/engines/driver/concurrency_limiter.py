"""ConcurrencyLimiter: how many calls may be in flight, given how often the server is too busy.

It works like a semaphore whose size adapts. An isolated "too many requests" (429, a rate limit)
changes nothing: that call backs off by itself. When a good part of a second's replies are such,
that is backpressure, and the limit falls, and then rises again slowly. After an outage the limit
starts low and rises by one with every answer, so that the first calls go out alone and a recovering
server is not met by all waiting calls at once (slow start).
"""

import time

WINDOW_S = 1.0
_MAX_BUSY_SHARE = 0.2
"""Share of a window's replies that may be rejections before the limit falls."""
_DECREASE = 0.7
_SLOW_START = 1 / 8
"""Share of the maximum at which the limit starts after an outage."""
_INCREASE_PER_ROUND = 4
"""Calls that the limit gains with as many answers as it allows in flight."""


class ConcurrencyLimiter:
    """A limit between 1 and `maximum`. It starts at `maximum`."""

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self._limit = float(maximum)
        self._slow_start_until = float(maximum)
        """Up to this limit every answer adds a whole call."""
        self._window_start = time.monotonic()
        self._answers = 0
        self._rejections = 0

    @property
    def limit(self) -> int:
        return max(1, int(self._limit))

    def record_success(self) -> None:
        """Raise the limit after an answer."""
        self._answers += 1
        is_slow_start = self._limit < self._slow_start_until
        step = 1.0 if is_slow_start else _INCREASE_PER_ROUND / self._limit
        self._limit = min(float(self.maximum), self._limit + step)

    def record_rejection(self) -> None:
        """Lower the limit if the server has rejected many calls of this window as too many."""
        self._rejections += 1
        now = time.monotonic()
        if now - self._window_start < WINDOW_S:
            return
        replies = self._answers + self._rejections
        # A single rejection never lowers the limit, however few the replies are.
        tolerated = max(1.0, _MAX_BUSY_SHARE * replies)
        if self._rejections > tolerated:
            self._limit = max(1.0, self._limit * _DECREASE)
            self._slow_start_until = self._limit
        self._window_start = now
        self._answers = 0
        self._rejections = 0

    def restart_slowly(self) -> None:
        """Start low again after an outage."""
        self._limit = max(1.0, self.maximum * _SLOW_START)
        self._slow_start_until = float(self.maximum)
