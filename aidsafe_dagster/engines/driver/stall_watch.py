"""StallWatch: says so when nothing moves.

It looks from outside of the driver's event loop, so it also sees a loop that stands still.
"""

import time
from collections.abc import Callable

from aidsafe_dagster.engines.driver.progress import Progress

_SILENT_S = 30.0
"""Without a tick for so long, the event loop itself stands still."""


class StallWatch:
    """Watches one drive.

    Args:
        progress: of the drive.
        stall_s: seconds without a change after which a line is due. Each further line takes twice
            as long as the one before.
        log: takes the line.
    """

    def __init__(
        self, progress: Progress, stall_s: float, log: Callable[[str], None]
    ) -> None:
        self._progress = progress
        self._stall_s = stall_s
        self._log = log
        self._moves = progress.moves
        self._moved = time.monotonic()
        self._due_s = stall_s

    def look(self) -> None:
        """Log a line if one is due."""
        progress = self._progress
        now = time.monotonic()
        if progress.moves != self._moves:
            self._moves = progress.moves
            self._moved = now
            self._due_s = self._stall_s
            return
        still_s = now - self._moved
        if still_s < self._due_s:
            return
        self._due_s *= 2
        self._log(self._line(still_s, now - progress.ticked))

    def _line(self, still_s: float, silent_s: float) -> str:
        progress = self._progress
        line = (
            f"nothing has moved for {still_s:.0f} s: {progress.in_flight} calls in flight, "
            f"{progress.rows - progress.rows_done} rows open"
        )
        if silent_s > _SILENT_S:
            line += f"; the driver itself has not answered for {silent_s:.0f} s"
        return f"{line}; {progress.notice}" if progress.notice else line
