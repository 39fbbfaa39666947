"""The journal as the driver uses it: never waited for on the event loop where that would cost a round trip.

SQLite on a local disk answers in a few hundredths of a millisecond and is asked at once. A database server is asked by
a thread, and whatever gathers while one transaction is under way goes into the next, so a commit's time is shared.
"""

import asyncio
import logging
from dataclasses import dataclass

from aidsafe_dagster.engines.journal import Entry, Journal
from aidsafe_dagster.recipe.dialogue import Completion
from aidsafe_dagster.recipe.errors import SetupError

_AT_ONCE = 200
FLUSH_AFTER_S = 1.0
"""A process that is killed loses nothing that was recorded; a machine that loses its power, so many seconds of it."""
logger = logging.getLogger(__name__)


@dataclass
class _Waiting:
    what: Entry | str
    """A completion to record, or a key to find."""
    answer: asyncio.Future[Completion | None]


class JournalWriter:
    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._waiting: list[_Waiting] = []
        self._writing: asyncio.Task[None] | None = None
        self._flushing: asyncio.Task[None] | None = None

    async def find(self, key: str) -> Completion | None:
        """The recorded completion, or None."""
        if self.journal.at_hand:
            return self.journal.find(key)
        return await self._put(key)

    async def record(self, entry: Entry) -> Completion:
        """Records a completion; once this returns it is safe. Returns the one in force: another may have been first."""
        if self.journal.at_hand:
            recorded = self.journal.record(entry)
            if self._flushing is None or self._flushing.done():
                self._flushing = asyncio.create_task(self._flush())
            return recorded
        return await self._put(entry) or entry.completion

    async def close(self) -> None:
        """Waits until all is written."""
        if self._flushing:
            self._flushing.cancel()
        under_way = [task for task in (self._writing, self._flushing) if task]
        await asyncio.gather(*under_way, return_exceptions=True)

    async def _flush(self) -> None:
        await asyncio.sleep(FLUSH_AFTER_S)
        try:
            await asyncio.to_thread(self.journal.flush)
        except SetupError as error:
            logger.warning("%s", error)

    def _put(self, what: Entry | str) -> asyncio.Future[Completion | None]:
        waiting = _Waiting(what, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        return waiting.answer

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
            entries = [waiting.what for waiting in batch if isinstance(waiting.what, Entry)]
            keys = [waiting.what for waiting in batch if isinstance(waiting.what, str)]
            try:
                found = await asyncio.to_thread(self._exchange, entries, keys)
            except Exception as error:  # noqa: BLE001 - handed to those who wait
                _fail(batch, error)
            else:
                _answer(batch, found)

    def _exchange(self, entries: list[Entry], keys: list[str]) -> dict[str, Completion]:
        """In this order, so that what is being recorded is found."""
        recorded = self.journal.record_all(entries) if entries else {}
        return (self.journal.find_all(keys) if keys else {}) | recorded


def _answer(batch: list[_Waiting], found: dict[str, Completion]) -> None:
    for waiting in batch:
        key = waiting.what.key if isinstance(waiting.what, Entry) else waiting.what
        if not waiting.answer.done():
            waiting.answer.set_result(found.get(key))


def _fail(batch: list[_Waiting], error: Exception) -> None:
    for waiting in batch:
        if not waiting.answer.done():
            waiting.answer.set_exception(error)
