"""The driver in one of several processes that make the same batches, as runs of batches do.

It takes batches that nobody works on, behind the batch's lock, and comes last to those that others
have. Batches that are made already are answered from the journal. It says when it is ready, and
waits for a line.

python -m benchmarks.host_client BASE_URL SLOTS BATCHES ROWS    in the project's folder
"""

import asyncio
import sys
from contextlib import closing
from pathlib import Path

from aidsafe_dagster.engines.driver.driver import Driver
from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.engines.driver.settings import DriverSettings
from aidsafe_dagster.engines.driver.slot_shares import SlotShares
from aidsafe_dagster.engines.endpoint import EndpointEngine
from aidsafe_dagster.engines.journal import Journal
from aidsafe_dagster.engines.settings import EndpointSettings
from aidsafe_dagster.primitives.held_lock import HeldLock
from aidsafe_dagster.recipe.dialogue import DialogueTask
from aidsafe_dagster.recipe.records import Failure, RefinedCot
from aidsafe_dagster.runs.locks import batch_lock
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.schema import Settings
from benchmarks.rows import dialogue_tasks


class Host:
    """A process at work on batches."""

    def __init__(
        self, settings: Settings, endpoint: EndpointSettings, batches: int, rows: int
    ) -> None:
        self._settings = settings
        self._endpoint = endpoint
        self._tasks: dict[str, list[DialogueTask[RefinedCot]]] = {}
        for number in range(batches):
            tasks = dialogue_tasks(rows, first=number * rows)
            self._tasks[f"benchmark-{number:04d}"] = tasks
        self._me = f"process in {Path.cwd()}"

    def make_batches(self) -> None:
        left = []
        for batch in self._tasks:
            lock = batch_lock(batch, self._settings)
            if not lock.try_hold(self._me):
                left.append(batch)
                continue
            try:
                self._make(batch, lock)
            finally:
                lock.release()
        for batch in left:
            lock = batch_lock(batch, self._settings)
            with lock.hold(self._me):
                self._make(batch, lock)

    def _make(self, batch: str, lock: HeldLock) -> None:
        with closing(Journal(self._settings.journal, lock)) as journal:
            asyncio.run(self._drive(self._tasks[batch], journal))

    async def _drive(
        self, tasks: list[DialogueTask[RefinedCot]], journal: Journal
    ) -> None:
        engine = EndpointEngine(self._endpoint)
        slots = self._endpoint.slots
        shares = SlotShares(self._settings.home / "slots", slots)
        driver = Driver(engine, journal, DriverSettings(), shares)
        try:
            results = await driver.drive(tasks, Progress(rows=len(tasks)))
        finally:
            await driver.close()
            await engine.close()
        if any(isinstance(result, Failure) for result in results):
            raise RuntimeError("rows were lost")


def main(base_url: str, slots: int, batches: int, rows: int) -> None:
    settings = load_settings(Path.cwd()).settings
    endpoint = EndpointSettings(base_url=base_url, model="simulated", slots=slots)
    host = Host(settings, endpoint, batches, rows)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    host.make_batches()


if __name__ == "__main__":
    base_url, slots, batches, rows = sys.argv[1:]
    main(base_url, int(slots), int(batches), int(rows))
