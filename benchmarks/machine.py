"""Where and with what the figures were made."""

import json
import os
import platform
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

_WORK = [{"number": number, "text": "text " * 5} for number in range(300)]
_SHOWN = ("dagster", "aiohttp", "sqlalchemy", "polars", "great-expectations")


def described() -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in _SHOWN)
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC on {os.cpu_count()} cores ({_processor()}), {_memory_gib():.0f} GiB, "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, {versions}"
        f"; load average {os.getloadavg()[0]:.1f}"
    )


def _processor() -> str:
    for line in (
        Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    ):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def cost_of_waking() -> float:
    """CPU that a fixed piece of work takes when the process sleeps 20 ms before each, as a multiple of without.

    Caches and the clock of the processor cool down meanwhile, and a virtual machine has to be woken by its host.
    """
    rested = [_work_after(0.02) for _ in range(50)]
    busy = [_work_after(0.0) for _ in range(200)]
    return median(rested) / median(busy)


def _work_after(pause_s: float) -> float:
    time.sleep(pause_s)
    started = time.process_time()
    json.loads(json.dumps(_WORK))
    return time.process_time() - started
