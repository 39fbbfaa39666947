"""What the system says of this process: CPU and memory; and the measurements of a client."""

import json
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path


def cpu_seconds() -> float:
    """Return the CPU of this process and of its children that have ended, in seconds."""
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        total += usage.ru_utime + usage.ru_stime
    return total


def memory_mb(field: str) -> float:
    """Return VmRSS, the memory in use, or VmHWM, its peak since `reset_peak_memory`."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise LookupError(field)


def reset_peak_memory() -> None:
    Path("/proc/self/clear_refs").write_text("5")  # see proc(5)


class ClientMeasurement:
    """Measures a client from now on: what it imported and built before is not part of it."""

    def __init__(self) -> None:
        self._done_at: list[float] = []
        reset_peak_memory()
        self._loaded_mb = memory_mb("VmRSS")
        self._cpu_s = cpu_seconds()
        self._started = time.monotonic()

    def note_row(self) -> None:
        """Note that a row is done, now."""
        self._done_at.append(time.monotonic())

    def write(self, digests: Sequence[str]) -> None:
        """Write the measurements to the standard output, as JSON."""
        seconds = time.monotonic() - self._started
        done_at = sorted(self._done_at) or [self._started]
        measurements = {
            "seconds": seconds,
            "half_at": (done_at[len(done_at) // 2] - self._started) / seconds,
            "cpu_s": cpu_seconds() - self._cpu_s,
            "grown_mb": memory_mb("VmHWM") - self._loaded_mb,
            "digests": digests,
        }
        sys.stdout.write(json.dumps(measurements) + "\n")
