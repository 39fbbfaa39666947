"""A driver on an event loop of its own, in a thread: so reading ahead goes on while gates are checked between steps."""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from pathlib import Path
from typing import TypeVar

from aidsafe_dagster.engines.driver.driver import Driver, DriverSettings, NextStage, Progress
from aidsafe_dagster.engines.driver.slot_shares import SlotShares
from aidsafe_dagster.engines.journal import Journal
from aidsafe_dagster.engines.protocol import Engine
from aidsafe_dagster.engines.server_load import ServerLoad, last_sample, watch
from aidsafe_dagster.recipe.dialogue import DialogueTask
from aidsafe_dagster.recipe.records import Failure

T = TypeVar("T")
POLL_S = 0.5
logger = logging.getLogger(__name__)


class BackgroundDriver:
    """Opened by the first drive, and to be closed. `make_engine` is given what to call with a line for the run's log.

    `shared` is the folder through which processes divide the engine's slots; None: this process has them all.
    """

    def __init__(
        self,
        make_engine: Callable[[Callable[[str], None]], Engine],
        journal_url: str,
        settings: DriverSettings,
        shared: Path | None = None,
    ) -> None:
        self._make_engine, self._journal_url = make_engine, journal_url
        self._settings, self._shared = settings, shared
        self._news: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="driver", daemon=True)
        self._thread.start()
        self._driver: Driver | None = None
        self._journal: Journal | None = None

    def drive(
        self,
        cases: Sequence[DialogueTask[T]],
        on_progress: Callable[[Progress], None],
        log: Callable[[str], None],
        then: Sequence[NextStage] = (),
    ) -> tuple[list[T | Failure], Progress]:
        """Runs the dialogues to their ends, see `Driver.drive`; both callables are called in the caller's thread.

        Raises:
            SetupError: engine or journal cannot be used, or no call can succeed.
        """
        progress = Progress(rows=len(cases))
        future = asyncio.run_coroutine_threadsafe(self._driven(cases, progress, then), self._loop)
        try:
            while not wait([future], timeout=POLL_S).done:
                self._tell(log)
                on_progress(progress)
        finally:
            future.cancel()
            self._tell(log)
        return future.result(), progress

    def close(self) -> dict[str, int]:
        """Ends all that is under way. Returns the calls that were read ahead in vain, by stage."""
        in_vain = asyncio.run_coroutine_threadsafe(self._closed(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        return in_vain

    async def _driven(
        self, cases: Sequence[DialogueTask[T]], progress: Progress, then: Sequence[NextStage]
    ) -> list[T | Failure]:
        driver = self._opened()
        load = ServerLoad(driver.engine.gpus)
        watching = asyncio.create_task(watch(load, driver.engine.metrics_url))
        try:
            results = await driver.drive(cases, progress, then)
            await last_sample(load, driver.engine.metrics_url())
            progress.load = load
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        return results

    def _opened(self) -> Driver:
        if self._driver is None:
            self._journal = self._journal or Journal(self._journal_url)
            engine = self._make_engine(self._news.put)
            slots = self._settings.calls_in_flight or engine.slots
            shares = SlotShares(self._shared, slots) if self._shared else None
            self._driver = Driver(engine, self._journal, self._settings, shares, self._news.put)
        return self._driver

    async def _closed(self) -> dict[str, int]:
        in_vain = self._driver.in_vain if self._driver else {}
        if self._driver:
            await self._driver.close()
            await self._driver.engine.close()
        if self._journal:
            self._journal.close()
        return in_vain

    def _tell(self, log: Callable[[str], None]) -> None:
        while not self._news.empty():
            log(self._news.get())
