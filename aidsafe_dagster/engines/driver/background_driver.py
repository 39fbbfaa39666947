"""BackgroundDriver: a driver in a thread of its own, so that read-ahead goes on between steps."""

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

from aidsafe_dagster.engines.driver.driver import Driver
from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.engines.driver.rows import NextStage
from aidsafe_dagster.engines.driver.settings import DriverSettings
from aidsafe_dagster.engines.driver.slot_shares import SlotShares
from aidsafe_dagster.engines.driver.stall_watch import StallWatch
from aidsafe_dagster.engines.journal import Journal
from aidsafe_dagster.engines.protocol import Engine
from aidsafe_dagster.engines.server_load import ServerLoad, take_last_sample, watch
from aidsafe_dagster.primitives.held_lock import HeldLock
from aidsafe_dagster.primitives.stop_signals import received
from aidsafe_dagster.recipe.dialogue import DialogueTask
from aidsafe_dagster.recipe.records import Failure

T = TypeVar("T")
POLL_S = 0.5
_LAST_TASKS_S = 1.0


class BackgroundDriver:
    """Opens its engine and its journal with the first drive. Has to be closed.

    Args:
        make_engine: makes the engine, given a function that takes lines for the run's log.
        journal_url: of the journal.
        settings: of the driver.
        shared: folder through which processes divide the engine's slots. None: this process has
            all of them.
        lock: once it is lost, the journal takes nothing more. None: no other process is at this
            work.
    """

    def __init__(
        self,
        make_engine: Callable[[Callable[[str], None]], Engine],
        journal_url: str,
        settings: DriverSettings,
        shared: Path | None = None,
        lock: HeldLock | None = None,
    ) -> None:
        self._make_engine = make_engine
        self._journal_url = journal_url
        self._settings = settings
        self._shared = shared
        self._lock = lock
        self._log_lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="driver", daemon=True
        )
        self._thread.start()
        self._driver: Driver | None = None
        self._journal: Journal | None = None

    def drive(
        self,
        tasks: Sequence[DialogueTask[T]],
        on_progress: Callable[[Progress], None],
        log: Callable[[str], None],
        next_stages: Sequence[NextStage] = (),
    ) -> tuple[list[T | Failure], Progress]:
        """Run the dialogues to their ends; see `Driver.drive`.

        Both callables are called in the caller's thread.

        Raises:
            SetupError: engine or journal cannot be used, or no call can succeed.
        """
        progress = Progress(rows=len(tasks))
        stall_watch = StallWatch(progress, self._settings.stall_s, log)
        work = self._drive(tasks, progress, next_stages)
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            # Poll, so that lines and progress are passed on in this thread, where Dagster logs.
            while not wait([future], timeout=POLL_S).done:
                # Some code may have swallowed the interrupt that the signal raised.
                if received():
                    raise KeyboardInterrupt
                self._pass_on_lines(log)
                on_progress(progress)
                stall_watch.look()
        finally:
            # Without effect if the drive is done. Otherwise an interrupt has ended the wait.
            future.cancel()
            self._pass_on_lines(log)
        return future.result(), progress

    def close(self) -> dict[str, int]:
        """End everything that is under way.

        Returns:
            The calls that were read ahead and not used, by stage.
        """
        closing = asyncio.run_coroutine_threadsafe(self._close(), self._loop)
        try:
            return closing.result()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _drive(
        self,
        tasks: Sequence[DialogueTask[T]],
        progress: Progress,
        next_stages: Sequence[NextStage],
    ) -> list[T | Failure]:
        driver = self._open_driver()
        load = ServerLoad(driver.engine.gpus)
        watcher = asyncio.create_task(watch(load, driver.engine.metrics_url))
        try:
            results = await driver.drive(tasks, progress, next_stages)
            await take_last_sample(load, driver.engine.metrics_url())
            progress.load = load
        finally:
            # Awaited, so that its HTTP session is closed before the loop goes on.
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
        return results

    def _open_driver(self) -> Driver:
        if self._driver is None:
            # The journal stays open if the engine cannot be made, so that `_close` closes it.
            if self._journal is None:
                self._journal = Journal(self._journal_url, self._lock)
            engine = self._make_engine(self._log_lines.put)
            shares = None
            if self._shared:
                slots = self._settings.calls_in_flight or engine.slots
                shares = SlotShares(self._shared, slots)
            log = self._log_lines.put
            self._driver = Driver(engine, self._journal, self._settings, shares, log)
        return self._driver

    async def _close(self) -> dict[str, int]:
        unused_calls = self._driver.unused_calls if self._driver else {}
        # What is added last is closed first, and each is closed even if another cannot be.
        async with AsyncExitStack() as open_parts:
            if self._journal:
                open_parts.callback(self._journal.close)
            # The driver's calls need engine and journal to the end.
            if self._driver:
                open_parts.push_async_callback(self._driver.engine.close)
                open_parts.push_async_callback(self._driver.close)
        # A drive that was interrupted may not have closed its HTTP session yet.
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=_LAST_TASKS_S)
        return unused_calls

    def _pass_on_lines(self, log: Callable[[str], None]) -> None:
        while not self._log_lines.empty():
            log(self._log_lines.get())
