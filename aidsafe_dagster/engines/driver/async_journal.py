"""AsyncJournal: the journal as the driver uses it, without blocking the event loop for long.

SQLite on a local disk answers in a few hundredths of a millisecond and is called directly. A
database server is called by a thread. What arrives while one transaction is under way goes into the
next one (group commit), so many calls share the time of a commit.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from aidsafe_dagster.engines.journal import DiskFull, Entry, Journal
from aidsafe_dagster.recipe.dialogue import Completion

_MAX_BATCH = 200
FLUSH_AFTER_S = 1.0
"""A killed process loses nothing that was recorded. A power cut loses at most this many seconds."""
DISK_PAUSE_S = 0.5
"""Between two tries while the disk is full."""
T = TypeVar("T")
logger = logging.getLogger(__name__)


@dataclass
class _Operation:
    """An entry to record, or a key to look up."""

    subject: Entry | str
    result: asyncio.Future[Completion | None]

    @property
    def key(self) -> str:
        return self.subject.key if isinstance(self.subject, Entry) else self.subject


class AsyncJournal:
    """Finds and records completions for many coroutines at a time."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._pending: list[_Operation] = []
        self._writer: asyncio.Task[None] | None = None
        self._flusher: asyncio.Task[None] | None = None
        self.trouble = ""
        """What is wrong with the disk at this moment; empty if nothing is."""

    async def find(self, key: str) -> Completion | None:
        """Return the recorded completion, or None."""
        return await self._until_there_is_room(lambda: self._find(key))

    async def record(self, entry: Entry) -> Completion:
        """Record a completion durably and return the one in force.

        That is another one if another process has recorded the same call first.
        """
        return await self._until_there_is_room(lambda: self._record(entry))

    async def _until_there_is_room(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do something with the journal, again after a pause while its disk is full.

        Raises:
            SetupError: the disk is still full after the wait of the journal, or anything else is
                wrong.
        """
        deadline = time.monotonic() + self.journal.wait_s
        while True:
            try:
                result = await work()
            except DiskFull as error:
                if time.monotonic() > deadline:
                    raise
                self._note(str(error))
            else:
                self._note("")
                return result
            await asyncio.sleep(DISK_PAUSE_S)

    def _note(self, trouble: str) -> None:
        """Log the first of many errors of one kind, and their end."""
        if trouble and not self.trouble:
            logger.warning("%s; trying again", trouble)
        if self.trouble and not trouble:
            logger.warning("the journal can be written again")
        self.trouble = trouble

    async def _find(self, key: str) -> Completion | None:
        if self.journal.is_local:
            return self.journal.find(key)
        return await self._submit(key)

    async def _record(self, entry: Entry) -> Completion:
        if self.journal.is_local:
            completion = self.journal.record(entry)
            # One flush covers everything that is recorded while it waits.
            if self._flusher is None or self._flusher.done():
                self._flusher = asyncio.create_task(self._flush())
            return completion
        return await self._submit(entry) or entry.completion

    async def close(self) -> None:
        """Wait until everything is written."""
        # The file survives this process without a flush. Pending writes do not.
        if self._flusher:
            self._flusher.cancel()
        tasks = [task for task in (self._writer, self._flusher) if task]
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _flush(self) -> None:
        await asyncio.sleep(FLUSH_AFTER_S)
        # The records are safe from a kill all the same, so this may take as long as it takes.
        while True:
            try:
                await asyncio.to_thread(self.journal.flush)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next try may succeed
                self._note(str(error))
            else:
                self._note("")
                return
            await asyncio.sleep(DISK_PAUSE_S)

    def _submit(self, subject: Entry | str) -> asyncio.Future[Completion | None]:
        operation = _Operation(subject, asyncio.get_running_loop().create_future())
        self._pending.append(operation)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        return operation.result

    async def _write(self) -> None:
        while self._pending:
            batch = self._pending[:_MAX_BATCH]
            del self._pending[:_MAX_BATCH]
            try:
                completions = await asyncio.to_thread(self._run_batch, batch)
            except Exception as error:  # noqa: BLE001 - handed to those who wait
                _fail(batch, error)
            else:
                _resolve(batch, completions)

    def _run_batch(self, batch: list[_Operation]) -> dict[str, Completion]:
        entries: list[Entry] = []
        keys: list[str] = []
        for operation in batch:
            if isinstance(operation.subject, Entry):
                entries.append(operation.subject)
            else:
                keys.append(operation.subject)
        # Recording comes first, so that a look-up finds what is recorded in the same batch.
        recorded = self.journal.record_all(entries) if entries else {}
        looked_up = self.journal.find_all(keys) if keys else {}
        return looked_up | recorded


def _resolve(batch: list[_Operation], completions: dict[str, Completion]) -> None:
    for operation in batch:
        # A row that was cancelled has cancelled its result, too.
        if not operation.result.done():
            operation.result.set_result(completions.get(operation.key))


def _fail(batch: list[_Operation], error: Exception) -> None:
    for operation in batch:
        if not operation.result.done():
            operation.result.set_exception(error)
