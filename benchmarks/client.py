"""One client in a process of its own, so that its CPU and memory can be measured.

It prints its measurements as JSON.

python -m benchmarks.client driver|plain ROWS SLOTS BASE_URL FOLDER BATCH_SIZE
"""

import asyncio
import hashlib
import json
import sys
import time
from collections.abc import Iterable, Iterator
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
from benchmarks.plain import complete_all
from benchmarks.rows import dialogue_tasks


async def drive_batches(
    batches: Iterable[list[DialogueTask[RefinedCot]]],
    base_url: str,
    slots: int,
    folder: str,
    done_at: list[float],
) -> list[str]:
    """Run batch after batch and return the digests of the rows."""
    settings = EndpointSettings(base_url=base_url, model="simulated", slots=slots)
    engine = EndpointEngine(settings)
    digests: list[str] = []
    with closing(Journal(f"sqlite:///{folder}/journal.sqlite")) as journal:
        try:
            for batch in batches:
                on_row = partial(_note_time, done_at)
                results, _ = await drive(
                    batch, engine, journal, DriverSettings(), on_row
                )
                digests += map(_digest, results)
        finally:
            await engine.close()
    return digests


def main(
    kind: str, rows: int, slots: int, base_url: str, folder: str, batch_size: int
) -> None:
    batches = _batches(rows, batch_size)
    first = next(batches)  # building the first batch is not part of what is measured
    done_at: list[float] = []
    reset_peak_memory()
    loaded_mb = memory_mb("VmRSS")
    cpu_s = time.process_time()
    started = time.monotonic()
    if kind == "plain":
        on_row = partial(_note_time, done_at, None)
        results = asyncio.run(complete_all(first, base_url, slots, on_row))
        digests = list(map(_digest, results))
    else:
        work = drive_batches(chain([first], batches), base_url, slots, folder, done_at)
        digests = asyncio.run(work)
    seconds = time.monotonic() - started
    measurements = {
        "seconds": seconds,
        "half_at": (sorted(done_at)[rows // 2] - started) / seconds,
        "cpu_s": time.process_time() - cpu_s,
        "grown_mb": memory_mb("VmHWM") - loaded_mb,
        "digests": digests,
    }
    sys.stdout.write(json.dumps(measurements) + "\n")


def _batches(rows: int, batch_size: int) -> Iterator[list[DialogueTask[RefinedCot]]]:
    for start in range(0, rows, batch_size):
        yield dialogue_tasks(min(batch_size, rows - start), start)


def _note_time(times: list[float], _: object) -> None:
    times.append(time.monotonic())


def _digest(result: object) -> str:
    """Hash the text of a row. Empty for a row that was lost."""
    if not isinstance(result, RefinedCot):
        return ""
    texts = [result.response]
    texts += [thought.text for thought in result.thoughts]
    return hashlib.blake2b("\0".join(texts).encode(), digest_size=8).hexdigest()


def memory_mb(field: str) -> float:
    """Return VmRSS, the memory in use, or VmHWM, its peak since `reset_peak_memory`."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise LookupError(field)


def reset_peak_memory() -> None:
    Path("/proc/self/clear_refs").write_text("5")  # see proc(5)


if __name__ == "__main__":
    kind, rows, slots, base_url, folder, batch_size = sys.argv[1:]
    main(kind, int(rows), int(slots), base_url, folder, int(batch_size))
