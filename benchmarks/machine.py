"""Where and with what the figures were made."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

_SHOWN = ("dagster", "aiohttp", "sqlalchemy", "polars", "great-expectations")


def described() -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in _SHOWN)
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC on {os.cpu_count()} cores ({_processor()}), {_memory_gib():.0f} GiB, "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, {versions}"
        f"; load average {os.getloadavg()[0]:.1f}"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
