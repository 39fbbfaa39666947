"""Progress of a long step: a line in the run's log now and then, and all of it for watchers."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aidsafe_dagster.engines.driver.pace import Pace
from aidsafe_dagster.engines.driver.progress import Progress, Rates
from aidsafe_dagster.engines.prices import format_money
from aidsafe_dagster.recipe.records import Usage

INTERVAL_S = 10.0
_SECONDS_SHOWN_S = 100
"""A longer time is given in minutes."""


@dataclass(frozen=True)
class Reading:
    """What a step of this process is at."""

    title: str
    """The step and its subject: `seed_cots b-0001`."""
    progress: Progress
    pace: Pace
    is_over: bool = False


Watcher = Callable[[Reading], None]
_watchers: list[Watcher] = []


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Have a function called with every reading of this process, in the thread of the step."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


class ProgressLog:
    """Logs a line at most every `INTERVAL_S` seconds, and shows every reading to watchers.

    Args:
        log: the run's.
        step: what is being done.
        subject: to what, such as a batch.
        currency: of the prices; empty if no server has prices.
    """

    def __init__(
        self, log: logging.Logger, step: str, subject: str, currency: str = ""
    ) -> None:
        self._log = log
        self._title = f"{step} {subject}"
        self._currency = currency
        self._latest: Progress | None = None
        self._pace: Pace | None = None
        # A step that ends within the first interval needs no line before its last one.
        self._last_logged = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        self._note(progress)
        now = time.monotonic()
        if now - self._last_logged < INTERVAL_S:
            return
        self._last_logged = now
        self._log.info(self.line(progress))

    def log_end(self, progress: Progress) -> None:
        """Log how the step ended, and show it to watchers."""
        self._note(progress, is_over=True)
        self._log.info(self.line(progress))

    def log_latest(self) -> None:
        """Log how far the step came, if it began."""
        if self._latest is not None:
            self._log.info(self.line(self._latest))

    def line(self, progress: Progress) -> str:
        """Return a line such as `seed_cots b-0001: 120/300 rows (2 failed), 3.1 rows/s, …`."""
        rate = progress.rows_done / progress.seconds if progress.seconds else 0.0
        line = (
            f"{self._title}: {progress.rows_done}/{progress.rows} rows "
            f"({_failures(progress)}), {rate:.1f} rows/s, {self._time_left(progress)}; "
            f"{progress.calls_made} calls made, {progress.replayed} replayed, "
            f"{progress.retries} retried, {progress.in_flight} in flight"
        )
        if progress.oldest_call_s is not None:
            line += f" (the oldest for {progress.oldest_call_s:.0f} s)"
        if progress.read_ahead:
            line += f", {progress.read_ahead} of the calls read ahead"
        if progress.usage.calls:
            line += f"; {self._spent(progress)}"
        if progress.notice:
            line += f"; {progress.notice}"
        return line

    def _note(self, progress: Progress, *, is_over: bool = False) -> None:
        if progress is not self._latest or self._pace is None:
            self._pace = Pace(progress)
        self._latest = progress
        self._pace.look()
        reading = Reading(self._title, progress, self._pace, is_over=is_over)
        for watcher in _watchers:
            watcher(reading)

    def _time_left(self, progress: Progress) -> str:
        if progress.rows_done == progress.rows:
            return f"{describe_seconds(progress.seconds)} in all"
        return describe_time_left(self._pace)

    def _spent(self, progress: Progress) -> str:
        """Return tokens and money of the new calls. Replayed ones cost nothing."""
        parts = [describe_tokens(progress.usage)]
        is_over = progress.rows_done == progress.rows
        if is_over or self._pace is None:
            parts.append(describe_rates(progress.mean_rates, progress))
        else:
            parts.append(describe_rates(self._pace.rates, progress))
        if self._currency:
            parts.append(self._money(progress, is_over=is_over))
        return ", ".join(parts)

    def _money(self, progress: Progress, *, is_over: bool) -> str:
        money = format_money(progress.usage.cost, self._currency)
        if is_over or not progress.rows_done:
            return money
        expected = progress.usage.cost * progress.rows / progress.rows_done
        in_all = format_money(expected, self._currency)
        return f"{money} so far and about {in_all} for the stage"


def _failures(progress: Progress) -> str:
    """Return `3 failed: 2 bad_text, 1 unparsable`."""
    reasons = []
    for reason, count in progress.failures.most_common():
        reasons.append(f"{count} {reason}")
    failures = f"{progress.rows_failed} failed"
    return f"{failures}: {', '.join(reasons)}" if reasons else failures


def describe_time_left(pace: Pace | None) -> str:
    """Return how long a drive will still take, or why nobody can tell."""
    if pace is not None and pace.is_silent:
        return f"nothing answered for {describe_seconds(pace.seconds_since_answer)}"
    if pace is None or pace.seconds_left is None:
        return "time left not known yet"
    return f"about {describe_seconds(pace.seconds_left)} left"


def describe_rates(rates: Rates, progress: Progress) -> str:
    """Return `tokens/s: 8,100 in (80 % cached), 282 out; 5.1 calls/s`."""
    cached = progress.cached_share or 0.0
    return (
        f"tokens/s: {rates.tokens_in:,.0f} in ({100 * cached:.0f} % cached), "
        f"{rates.tokens_out:,.0f} out; {rates.calls:.1f} calls/s"
    )


def describe_seconds(seconds: float) -> str:
    """Return a time in two units at most: `45 s`, `12 min`, `3 h 20 min`."""
    if seconds < _SECONDS_SHOWN_S:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def describe_tokens(usage: Usage) -> str:
    """Return `1,200 tokens in (800 cached), 300 out (120 reasoning)`."""
    return (
        f"{usage.prompt_tokens:,} tokens in ({usage.cached_tokens:,} cached), "
        f"{usage.completion_tokens:,} out ({usage.reasoning_tokens:,} reasoning)"
    )
