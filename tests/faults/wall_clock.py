"""A clock on the wall that a test sets, as the processes under test see it."""

import mmap
import os
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_SOURCE = Path(__file__).with_suffix(".c")
CAN_BE_SET = sys.platform.startswith("linux") and shutil.which("cc") is not None
"""Whether a library can be built that is loaded before the C library."""


@dataclass(frozen=True)
class WallClock:
    """What the processes under test take for the time. The monotonic clock goes on as it is.

    Args:
        folder: for the library and the file that says how far the clock is off.
    """

    folder: Path

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self._file.write_bytes(bytes(mmap.PAGESIZE))
        options = ["-shared", "-fPIC", "-O2", "-o", str(self._library)]
        subprocess.run(["cc", *options, str(_SOURCE), "-ldl"], check=True)

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a process that goes by this clock, and its children."""
        return {"LD_PRELOAD": str(self._library), "WALL_CLOCK_FILE": str(self._file)}

    def set(self, hours: float) -> None:
        """Set it so many hours before or after the real one, for running processes too."""
        # In place: the processes have mapped the file.
        descriptor = os.open(self._file, os.O_WRONLY)
        os.pwrite(descriptor, struct.pack("=q", round(3600 * hours)), 0)
        os.close(descriptor)

    @property
    def _library(self) -> Path:
        return self.folder / "wall_clock.so"

    @property
    def _file(self) -> Path:
        return self.folder / "seconds_off"
