"""Progress of a long step in the run's log: rows done, rate, time to go."""

import logging
import time

from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.engines.prices import format_money
from aidsafe_dagster.recipe.records import Usage

INTERVAL_S = 10.0


class ProgressLog:
    """Logs a line at most every `INTERVAL_S` seconds.

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
        # A step that ends within the first interval needs no line before its last one.
        self._last_logged = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        self._latest = progress
        now = time.monotonic()
        if now - self._last_logged < INTERVAL_S:
            return
        self._last_logged = now
        self._log.info(self.line(progress))

    def log_latest(self) -> None:
        """Log how far the step came, if it began."""
        if self._latest is not None:
            self._log.info(self.line(self._latest))

    def line(self, progress: Progress) -> str:
        """Return a line such as `seed_cots b-0001: 120/300 rows (2 failed), 3.1 rows/s, …`."""
        # Read once, because the property goes on with the clock.
        seconds = progress.seconds
        rate = progress.rows_done / seconds if seconds else 0.0
        time_to_go = "no rate yet"
        if rate:
            rows_to_go = progress.rows - progress.rows_done
            time_to_go = f"about {rows_to_go / rate:.0f} s to go"
        line = (
            f"{self._title}: {progress.rows_done}/{progress.rows} rows "
            f"({progress.rows_failed} failed), {rate:.1f} rows/s, {time_to_go}; "
            f"{progress.calls_made} calls made, {progress.replayed} replayed, "
            f"{progress.retries} retried, {progress.in_flight} in flight"
        )
        if progress.read_ahead:
            line += f", {progress.read_ahead} of the calls read ahead"
        if progress.usage.calls:
            line += f"; {self._spent(progress.usage)}"
        if progress.notice:
            line += f"; {progress.notice}"
        return line

    def _spent(self, usage: Usage) -> str:
        """Return tokens and money of the new calls. Replayed ones cost nothing."""
        spent = describe_tokens(usage)
        if self._currency:
            spent += f", {format_money(usage.cost, self._currency)}"
        return spent


def describe_tokens(usage: Usage) -> str:
    """Return `1,200 tokens in (800 cached), 300 out (120 reasoning)`."""
    return (
        f"{usage.prompt_tokens:,} tokens in ({usage.cached_tokens:,} cached), "
        f"{usage.completion_tokens:,} out ({usage.reasoning_tokens:,} reasoning)"
    )
