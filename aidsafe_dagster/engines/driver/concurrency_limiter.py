"""ConcurrencyLimiter: how many calls may be in flight, given what the server says of its load.

An isolated "too many requests" changes nothing: the call waits, as it is told to. When a good part of all answers says
so, fewer calls are let through, and then more again, one by one. After an outage the first calls go out alone and every
answer lets two more follow, so a server that comes back is not met by all that waited for it at once.
"""

import time

WINDOW_S = 1.0
_TOO_BUSY = 0.2  # share of a window's answers
_FEWER = 0.7
_FIRST = 1 / 8  # of all calls, after an outage


class ConcurrencyLimiter:
    """A limit between 1 and `most`, which starts at `most`."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._limit = float(most)
        self._steep_to = float(most)
        """Up to here every answer adds a call; above it, a round of answers adds a few."""
        self._window = time.monotonic()
        self._answers = self._refusals = 0

    @property
    def limit(self) -> int:
        return max(1, int(self._limit))

    def answered(self) -> None:
        """A call was answered."""
        self._answers += 1
        step = 1.0 if self._limit < self._steep_to else 4 / self._limit
        self._limit = min(float(self.most), self._limit + step)

    def busy(self) -> None:
        """The server took a call to be one too many."""
        self._refusals += 1
        now = time.monotonic()
        if now - self._window < WINDOW_S:
            return
        if self._refusals > max(1.0, _TOO_BUSY * (self._answers + self._refusals)):
            self._limit = self._steep_to = max(1.0, self._limit * _FEWER)
        self._window, self._answers, self._refusals = now, 0, 0

    def after_an_outage(self) -> None:
        self._limit = max(1.0, self.most * _FIRST)
        self._steep_to = float(self.most)
