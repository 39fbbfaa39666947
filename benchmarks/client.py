"""One client in a process of its own, so that its CPU and its memory are its own. Prints what it saw as JSON.

python -m benchmarks.client driver|plain ROWS SLOTS BASE_URL FOLDER BATCH_SIZE
"""

import asyncio
import hashlib
import json
import sys
import time
from collections.abc import Iterable
from contextlib import closing
from functools import partial
from itertools import chain
from pathlib import Path

from aidsafe_dagster.engines.driver.driver import drive
from aidsafe_dagster.engines.driver.settings import DriverSettings
from aidsafe_dagster.engines.endpoint import EndpointEngine
from aidsafe_dagster.engines.journal import Journal
from aidsafe_dagster.engines.settings import EndpointSettings
from aidsafe_dagster.recipe.dialogue import DialogueTask
from aidsafe_dagster.recipe.records import RefinedCot
from benchmarks.plain import gathered
from benchmarks.rows import cases


async def driven(
    batches: Iterable[list[DialogueTask[RefinedCot]]],
    base_url: str,
    slots: int,
    folder: str,
    done: list[float],
) -> list[str]:
    """Digests of the rows, batch after batch."""
    engine, digests = (
        EndpointEngine(EndpointSettings(base_url=base_url, model="simulated", slots=slots)),
        list[str](),
    )
    with closing(Journal(f"sqlite:///{folder}/journal.sqlite")) as journal:
        try:
            for batch in batches:
                tell = partial(_note, done)
                results, _ = await drive(batch, engine, journal, DriverSettings(), tell)
                digests += map(_digest, results)
        finally:
            await engine.close()
    return digests


def main(kind: str, rows: int, slots: int, base_url: str, folder: str, batch_size: int) -> None:
    first, *others = (
        partial(cases, min(batch_size, rows - start), start) for start in range(0, rows, batch_size)
    )
    made = first()  # that of the only batch is not what is measured
    _forget_the_peak()
    loaded, cpu, started, done = (
        _memory_mb("VmRSS"),
        time.process_time(),
        time.monotonic(),
        list[float](),
    )
    if kind == "plain":
        plain = gathered(made, base_url, slots, lambda: done.append(time.monotonic()))
        digests = list(map(_digest, asyncio.run(plain)))
    else:
        batches = chain([made], (other() for other in others))
        digests = asyncio.run(driven(batches, base_url, slots, folder, done))
    seconds = time.monotonic() - started
    seen = {
        "seconds": seconds,
        "half_at": (sorted(done)[rows // 2] - started) / seconds,
        "cpu_s": time.process_time() - cpu,
        "grown_mb": _memory_mb("VmHWM") - loaded,
        "digests": digests,
    }
    sys.stdout.write(json.dumps(seen) + "\n")


def _note(done: list[float], _: object) -> None:
    done.append(time.monotonic())


def _digest(result: object) -> str:
    """Of what a row says; empty for a row that was lost."""
    if not isinstance(result, RefinedCot):
        return ""
    said = (result.response, *(thought.text for thought in result.thoughts))
    return hashlib.blake2b("\0".join(said).encode(), digest_size=8).hexdigest()


def _memory_mb(what: str) -> float:
    """VmRSS, what is used now; VmHWM, the most since the start or `_forget_the_peak`."""
    line = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what)
    )
    return int(line.split()[1]) / 1024


def _forget_the_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    main(
        sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5], int(sys.argv[6])
    )
