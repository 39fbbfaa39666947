"""The machine and the versions behind the figures."""

import json
import os
import platform
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

_WORK = [{"number": number, "text": "text " * 5} for number in range(300)]
_PACKAGES = ("dagster", "aiohttp", "sqlalchemy", "polars", "great-expectations")


def describe_machine() -> str:
    """Return the time, the machine, the versions and the load in one line."""
    now = datetime.now(UTC)
    versions = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    load, _, _ = os.getloadavg()
    return (
        f"{now:%Y-%m-%d %H:%M} UTC on {os.cpu_count()} cores ({_processor()}), "
        f"{_memory_gib():.0f} GiB, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, {versions}; load average {load:.1f}"
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    for line in lines:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def wake_up_cost() -> float:
    """Return the CPU that work takes after 20 ms of sleep, as a multiple of that without sleep.

    Meanwhile caches grow cold and the processor slows down, and the host has to wake a virtual
    machine.
    """
    rested = [_work_after(0.02) for _ in range(50)]
    busy = [_work_after(0.0) for _ in range(200)]
    return median(rested) / median(busy)


def _work_after(pause_s: float) -> float:
    time.sleep(pause_s)
    started = time.process_time()
    json.loads(json.dumps(_WORK))
    return time.process_time() - started
