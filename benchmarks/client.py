"""One client in a process of its own, so that its CPU and memory can be measured.

It prints its measurements as JSON.

python -m benchmarks.client driver|plain ROWS SLOTS BASE_URL FOLDER BATCH_SIZE
"""

import asyncio
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import chain

from aidsafe_dagster.engines.driver.driver import drive
from aidsafe_dagster.engines.driver.settings import DriverSettings
from aidsafe_dagster.engines.endpoint import EndpointEngine
from aidsafe_dagster.engines.journal import Journal
from aidsafe_dagster.engines.settings import EndpointSettings
from aidsafe_dagster.recipe.dialogue import DialogueTask
from aidsafe_dagster.recipe.records import RefinedCot
from benchmarks.plain import complete_all
from benchmarks.process import ClientMeasurement
from benchmarks.rows import dialogue_tasks, digest


async def drive_batches(
    batches: Iterable[list[DialogueTask[RefinedCot]]],
    base_url: str,
    slots: int,
    folder: str,
    measurement: ClientMeasurement,
) -> list[str]:
    """Run batch after batch and return the digests of the rows."""
    settings = EndpointSettings(base_url=base_url, model="simulated", slots=slots)
    engine = EndpointEngine(settings)
    digests: list[str] = []
    with closing(Journal(f"sqlite:///{folder}/journal.sqlite")) as journal:
        try:
            for batch in batches:
                results, _ = await drive(
                    batch,
                    engine,
                    journal,
                    DriverSettings(),
                    lambda _: measurement.note_row(),
                )
                digests += map(digest, results)
        finally:
            await engine.close()
    return digests


def main(
    kind: str, rows: int, slots: int, base_url: str, folder: str, batch_size: int
) -> None:
    batches = _batches(rows, batch_size)
    first = next(batches)  # building the first batch is not part of what is measured
    measurement = ClientMeasurement()
    if kind == "plain":
        on_row = measurement.note_row
        results = asyncio.run(complete_all(first, base_url, slots, on_row))
        digests = list(map(digest, results))
    else:
        work = drive_batches(
            chain([first], batches), base_url, slots, folder, measurement
        )
        digests = asyncio.run(work)
    measurement.write(digests)


def _batches(rows: int, batch_size: int) -> Iterator[list[DialogueTask[RefinedCot]]]:
    for start in range(0, rows, batch_size):
        yield dialogue_tasks(min(batch_size, rows - start), start)


if __name__ == "__main__":
    kind, rows, slots, base_url, folder, batch_size = sys.argv[1:]
    main(kind, int(rows), int(slots), base_url, folder, int(batch_size))
