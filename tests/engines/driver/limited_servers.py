"""Servers that limit calls or tokens by the minute, as computations with given times."""

import math
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Reply:
    """Whether a call is admitted, and what a refusal says in its `Retry-After` header."""

    is_admitted: bool
    retry_after_s: float | None = None


class LimitedServer(Protocol):
    def admit(self, now: float, tokens: float) -> Reply:
        """Decide on a call that arrives now."""
        ...

    def ideal_s(self, calls: int, tokens: float) -> float:
        """Return the seconds that the limit alone makes so many calls take."""
        ...


@dataclass
class TokenBucket:
    """`per_minute` calls (or tokens), and as many at once as the bucket holds."""

    per_minute: float
    capacity: float
    says: str = ""
    """'' no header, 'honest' the exact seconds, else always this."""
    counts_tokens: bool = False
    _level: float | None = None
    _at: float = 0.0

    def admit(self, now: float, tokens: float) -> Reply:
        rate = self.per_minute / 60
        units = tokens if self.counts_tokens else 1.0
        level = self.capacity if self._level is None else self._level
        self._level = min(self.capacity, level + (now - self._at) * rate)
        self._at = now
        if self._level >= units:
            self._level -= units
            return Reply(True)
        if self.says == "honest":
            return Reply(False, (units - self._level) / rate)
        return Reply(False, float(self.says) if self.says else None)

    def ideal_s(self, calls: int, tokens: float) -> float:
        units = calls * tokens if self.counts_tokens else calls
        return max(0.0, units - self.capacity) / (self.per_minute / 60)


@dataclass
class FixedWindow:
    """`per_window` calls in each window of `seconds`."""

    per_window: int
    seconds: float = 60.0
    phase: float = 0.0
    """How much of the first window is over at time 0."""
    says: str = ""
    _window: float = -1.0
    _calls: int = 0

    def admit(self, now: float, tokens: float) -> Reply:
        position = (now + self.phase) / self.seconds
        window = math.floor(position)
        if window != self._window:
            self._window, self._calls = window, 0
        if self._calls < self.per_window:
            self._calls += 1
            return Reply(True)
        left_s = (window + 1 - position) * self.seconds
        return Reply(False, left_s if self.says == "honest" else None)

    def ideal_s(self, calls: int, tokens: float) -> float:
        closures = math.ceil(calls / self.per_window) - 1
        return max(0.0, closures * self.seconds - self.phase) if closures else 0.0


@dataclass
class SlidingWindow:
    """`per_window` calls in any `seconds`."""

    per_window: int
    seconds: float = 60.0
    _admitted: list[float] = field(default_factory=list)

    def admit(self, now: float, tokens: float) -> Reply:
        self._admitted = [at for at in self._admitted if at > now - self.seconds]
        if len(self._admitted) >= self.per_window:
            return Reply(False)
        self._admitted.append(now)
        return Reply(True)

    def ideal_s(self, calls: int, tokens: float) -> float:
        return (math.ceil(calls / self.per_window) - 1) * self.seconds
