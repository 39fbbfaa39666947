"""The journal behind a thread, as the driver uses it with a database server."""

import asyncio
from collections.abc import Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.engines.driver.async_journal import AsyncJournal
from aidsafe_dagster.engines.journal import Entry, Journal
from aidsafe_dagster.recipe.errors import SetupError
from tests.engines.test_journal import a_completion, a_request


class CountingJournal(Journal):
    """Poses as a remote journal, and counts the transactions."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"sqlite:///{folder / 'journal.sqlite'}?check_same_thread=false"
        )
        self.is_local = False
        self.transactions = 0

    def record_all(self, entries: Any) -> Any:
        self.transactions += 1
        return super().record_all(entries)


def an_entry(key: str, text: str = "{}") -> Entry:
    return Entry(key, a_request(), a_completion(text), 0.1)


def test_entries_that_arrive_during_a_transaction_share_the_next_one(
    tmp_path: Path,
) -> None:
    async def work(journal: AsyncJournal) -> None:
        keys = [f"key {number}" for number in range(60)]
        entries = [an_entry(key, text=key) for key in keys]
        recorded = await asyncio.gather(*map(journal.record, entries))
        assert [completion.text for completion in recorded] == keys
        looked_up = await asyncio.gather(*map(journal.find, [*keys, "nobody"]))
        texts = [completion and completion.text for completion in looked_up]
        assert texts == [*keys, None]

    with closing(CountingJournal(tmp_path)) as journal:
        asyncio.run(work(AsyncJournal(journal)))
        assert journal.transactions <= 2


def test_the_first_of_two_completions_stays(tmp_path: Path) -> None:
    async def work(journal: AsyncJournal) -> None:
        await journal.record(an_entry("key", "first"))
        assert (await journal.record(an_entry("key", "second"))).text == "first"

    with closing(CountingJournal(tmp_path)) as journal:
        asyncio.run(work(AsyncJournal(journal)))


def test_closing_waits_until_everything_is_written(tmp_path: Path) -> None:
    async def work(journal: AsyncJournal) -> None:
        recording: Coroutine[Any, Any, Any] = journal.record(an_entry("key"))
        task = asyncio.ensure_future(recording)
        await asyncio.sleep(0)
        await journal.close()
        await task

    with closing(CountingJournal(tmp_path)) as journal:
        asyncio.run(work(AsyncJournal(journal)))
        assert journal.find("key") == a_completion()


def test_a_database_error_is_raised_in_all_callers_that_wait(tmp_path: Path) -> None:
    async def work(journal: AsyncJournal) -> None:
        journal.journal._connection.exec_driver_sql("DROP TABLE completions")
        outcomes = await asyncio.gather(
            journal.find("a"), journal.record(an_entry("b")), return_exceptions=True
        )
        assert [type(answer) for answer in outcomes] == [SetupError, SetupError]
        with pytest.raises(SetupError, match="no such table"):
            await journal.find("c")

    with closing(CountingJournal(tmp_path)) as journal:
        journal._wait_s = 0.0
        asyncio.run(work(AsyncJournal(journal)))
