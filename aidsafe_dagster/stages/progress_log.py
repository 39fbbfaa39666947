"""Progress of a long step, in the run's log: rows done, rate, time to go."""

import logging
import time

from aidsafe_dagster.engines.driver.progress import Progress

EVERY_S = 10.0


class ProgressLog:
    """Logs at most every `EVERY_S` seconds."""

    def __init__(self, log: logging.Logger, stage: str, batch: str) -> None:
        self._log, self._what = log, f"{stage} {batch}"
        self._last = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._last < EVERY_S:
            return
        self._last = now
        self._log.info(self.line(progress))

    def line(self, progress: Progress) -> str:
        """`seed_cots b-0001: 120/300 rows (2 failed), 3.1 rows/s, about 58 s to go; 240 calls, 12 replayed`."""
        rate = progress.rows_done / progress.seconds if progress.seconds else 0.0
        to_go = (
            f"about {(progress.rows - progress.rows_done) / rate:.0f} s to go"
            if rate
            else "no rate yet"
        )
        return (
            f"{self._what}: {progress.rows_done}/{progress.rows} rows ({progress.rows_failed} failed), "
            f"{rate:.1f} rows/s, {to_go}; {progress.calls_made} calls made, {progress.replayed} replayed, "
            f"{progress.retries} retries, {progress.in_flight} in flight"
            f"{f', {progress.read_ahead} of the calls read ahead' if progress.read_ahead else ''}"
            f"{f'; {progress.notice}' if progress.notice else ''}"
        )
