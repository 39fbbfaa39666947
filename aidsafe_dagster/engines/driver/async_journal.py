"""AsyncJournal: the journal as the driver uses it, without blocking the event loop for long.

SQLite on a local disk answers in a few hundredths of a millisecond and is called directly. A
database server is called by a thread. What arrives while one transaction is under way goes into the
next one (group commit), so many calls share the time of a commit.
"""

import asyncio
import logging
from dataclasses import dataclass

from aidsafe_dagster.engines.journal import Entry, Journal
from aidsafe_dagster.recipe.dialogue import Completion
from aidsafe_dagster.recipe.errors import SetupError

_MAX_BATCH = 200
FLUSH_AFTER_S = 1.0
"""A killed process loses nothing that was recorded. A power cut loses at most this many seconds."""
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

    async def find(self, key: str) -> Completion | None:
        """Return the recorded completion, or None."""
        if self.journal.is_local:
            return self.journal.find(key)
        return await self._submit(key)

    async def record(self, entry: Entry) -> Completion:
        """Record a completion durably and return the one in force.

        That is another one if another process has recorded the same call first.
        """
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
        try:
            await asyncio.to_thread(self.journal.flush)
        except SetupError as error:
            # The records are safe from a kill all the same. The next statement fails if need be.
            logger.warning("%s", error)

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
