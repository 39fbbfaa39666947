"""The command line of the benchmarks."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

from benchmarks import (
    backfill,
    batch,
    cost,
    death,
    driver,
    faults,
    growth,
    hosts,
    journal,
    lake,
    outage,
    peers,
    prefix,
    rate_limits,
    results,
    selection,
    viewer,
)
from benchmarks.options import Options, Section

BENCHMARKS: Mapping[str, Callable[[Options], Section]] = {
    "driver": driver.run,
    "peers": peers.run,
    "faults": faults.run,
    "death": death.run,
    "outage": outage.run,
    "batch": batch.run,
    "cost": cost.run,
    "backfill": backfill.run,
    "hosts": hosts.run,
    "growth": growth.run,
    "journal": journal.run,
    "lake": lake.run,
    "prefix": prefix.run,
    "rate_limits": rate_limits.run,
    "viewer": viewer.run,
    "selection": selection.run,
}
_OF_THE_SERVER = ("aiohttp", "orjson", "yaml")
"""Packages that the simulated server imports."""
RESULTS = Path(__file__).parent / "RESULTS.md"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Benchmarks on a simulated model server.",
    )
    parser.add_argument(
        "names", nargs="*", choices=[*BENCHMARKS, []], help="default: all of them"
    )
    parser.add_argument(
        "--rows", type=int, help="rows (of a batch); default: each benchmark's own"
    )
    parser.add_argument(
        "--slots", type=int, default=64, help="calls that the server works on at a time"
    )
    parser.add_argument(
        "--pace", type=float, default=1.0, help="speed of the server; 1: calls of 1.3 s"
    )
    parser.add_argument(
        "--length",
        type=float,
        default=1.0,
        help="answers of `cost`, as a multiple of their usual length",
    )
    parser.add_argument(
        "--out", type=Path, default=RESULTS, help="page whose sections are replaced"
    )
    arguments = parser.parse_args()
    _require_packages()
    # Python's default. Without it every process would compile our modules anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    options = Options(arguments.rows, arguments.slots, arguments.pace, arguments.length)
    for name in arguments.names or BENCHMARKS:
        started = time.monotonic()
        section = BENCHMARKS[name](options)
        seconds = time.monotonic() - started
        print(f"{section.markdown()}\n({name}: {seconds:.0f} s)\n", flush=True)
        results.replace_section(arguments.out, name, section, list(BENCHMARKS))


def _require_packages() -> None:
    """End with what is missing: the environment of `make demo` has what the pipeline needs."""
    missing = [name for name in _OF_THE_SERVER if find_spec(name) is None]
    if missing:
        names = ", ".join(missing)
        sys.exit(
            f"The simulated model server needs {names}, which {sys.executable} lacks: it is an "
            "environment for using the pipeline, such as `make demo` makes. `make bench` makes "
            f"one for development and starts the benchmarks there; `pip install {names}` "
            "completes this one."
        )


if __name__ == "__main__":
    main()
