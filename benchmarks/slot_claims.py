"""Slot shares alone: how many claims processes make a second that do nothing else.

python -m benchmarks.slot_claims FOLDER SECONDS    makes claims, prints their number and CPU seconds
"""

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from aidsafe_dagster.engines.driver.slot_shares import SlotShares
from benchmarks.process import cpu_seconds
from tests.site import ROOT

_SECONDS = 5.0
_SLOTS = 64


@dataclass(frozen=True)
class Claims:
    count: int
    a_second: float
    cpu_s: float


def measure_claims(processes: int) -> Claims:
    """Let processes claim slots of the same engine for some seconds."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.slot_claims"]
        running = []
        for _ in range(processes):
            arguments = [folder, str(_SECONDS)]
            running.append(
                subprocess.Popen(
                    [*command, *arguments],
                    cwd=ROOT,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
        count, cpu_s = 0, 0.0
        for process in running:
            printed, _ = process.communicate()
            claims, spent = printed.split()
            count += int(claims)
            cpu_s += float(spent)
    return Claims(count, count / _SECONDS, cpu_s)


def main(folder: Path, seconds: float) -> None:
    shares = SlotShares(folder, _SLOTS)
    cpu_s, deadline = cpu_seconds(), time.monotonic() + seconds
    count = 0
    while time.monotonic() < deadline:
        shares.claim(_SLOTS, 0, count)
        count += 1
    sys.stdout.write(f"{count} {cpu_seconds() - cpu_s}\n")
    shares.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
