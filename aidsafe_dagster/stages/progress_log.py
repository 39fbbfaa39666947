"""Progress of a long step in the run's log: rows done, rate, time to go."""

import logging
import time

from aidsafe_dagster.engines.driver.progress import Progress

INTERVAL_S = 10.0


class ProgressLog:
    """Logs a line at most every `INTERVAL_S` seconds."""

    def __init__(self, log: logging.Logger, step: str, subject: str) -> None:
        self._log = log
        self._title = f"{step} {subject}"
        # A step that ends within the first interval needs no line before its last one.
        self._last_logged = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._last_logged < INTERVAL_S:
            return
        self._last_logged = now
        self._log.info(self.line(progress))

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
        if progress.notice:
            line += f"; {progress.notice}"
        return line
