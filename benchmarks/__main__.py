"""The command: see the package."""

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks import backfill, batch, death, driver, faults, growth, outage, prefix, results
from benchmarks.options import Options, Section

BENCHMARKS: Mapping[str, Callable[[Options], Section]] = {
    "driver": driver.run,
    "faults": faults.run,
    "death": death.run,
    "outage": outage.run,
    "batch": batch.run,
    "backfill": backfill.run,
    "growth": growth.run,
    "prefix": prefix.run,
}
RESULTS = Path(__file__).parent / "RESULTS.md"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Benchmarks on a simulated model server."
    )
    parser.add_argument(
        "names", nargs="*", choices=[*BENCHMARKS, []], help="which; none: all, into RESULTS.md"
    )
    parser.add_argument(
        "--rows", type=int, help="rows (of a batch); by default each benchmark's own"
    )
    parser.add_argument(
        "--slots", type=int, default=64, help="calls that the server works on at a time"
    )
    parser.add_argument(
        "--pace", type=float, default=1.0, help="how many times as fast as calls of 1.3 s it is"
    )
    parser.add_argument(
        "--out", type=Path, default=RESULTS, help="the page whose sections are written anew"
    )
    chosen = parser.parse_args()
    for name in chosen.names or BENCHMARKS:
        started = time.monotonic()
        section = BENCHMARKS[name](Options(chosen.rows, chosen.slots, chosen.pace))
        print(f"{section.markdown()}\n({name}: {time.monotonic() - started:.0f} s)\n", flush=True)
        results.put(chosen.out, name, section, list(BENCHMARKS))


if __name__ == "__main__":
    main()
