"""The journal off the event loop, as a database server is used."""

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


class Counted(Journal):
    """A journal that is not at hand, and counts its transactions."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"sqlite:///{folder / 'journal.sqlite'}?check_same_thread=false")
        self.is_local = False
        self.transactions = 0

    def record_all(self, entries: Any) -> Any:
        self.transactions += 1
        return super().record_all(entries)


def an_entry(key: str, text: str = "{}") -> Entry:
    return Entry(key, a_request(), a_completion(text), 0.1)


def test_what_gathers_while_one_transaction_is_under_way_goes_into_the_next(tmp_path: Path) -> None:
    async def work(recorder: AsyncJournal) -> None:
        keys = [f"key {number}" for number in range(60)]
        recorded = await asyncio.gather(*(recorder.record(an_entry(key, key)) for key in keys))
        assert [completion.text for completion in recorded] == keys
        found = await asyncio.gather(*(recorder.find(key) for key in [*keys, "nobody"]))
        assert [completion and completion.text for completion in found] == [*keys, None]

    with closing(Counted(tmp_path)) as journal:
        asyncio.run(work(AsyncJournal(journal)))
        assert journal.transactions <= 2


def test_the_first_of_two_answers_stays(tmp_path: Path) -> None:
    async def work(recorder: AsyncJournal) -> None:
        await recorder.record(an_entry("key", "first"))
        assert (await recorder.record(an_entry("key", "second"))).text == "first"

    with closing(Counted(tmp_path)) as journal:
        asyncio.run(work(AsyncJournal(journal)))


def test_closing_waits_until_all_is_written(tmp_path: Path) -> None:
    async def work(recorder: AsyncJournal) -> None:
        waiting: Coroutine[Any, Any, Any] = recorder.record(an_entry("key"))
        task = asyncio.ensure_future(waiting)
        await asyncio.sleep(0)
        await recorder.close()
        await task

    with closing(Counted(tmp_path)) as journal:
        asyncio.run(work(AsyncJournal(journal)))
        assert journal.find("key") == a_completion()


def test_a_database_that_cannot_be_used_is_the_error_of_all_who_wait(tmp_path: Path) -> None:
    async def work(recorder: AsyncJournal) -> None:
        recorder.journal._connection.exec_driver_sql("DROP TABLE completions")
        asked = await asyncio.gather(
            recorder.find("a"), recorder.record(an_entry("b")), return_exceptions=True
        )
        assert [type(answer) for answer in asked] == [SetupError, SetupError]
        with pytest.raises(SetupError, match="no such table"):
            await recorder.find("c")

    with closing(Counted(tmp_path)) as journal:
        journal._wait_s = 0.0
        asyncio.run(work(AsyncJournal(journal)))
