"""The journal in PostgreSQL: shared, patient, and silent about its password."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier, Timer
from typing import Any

import pytest
import sqlalchemy as sa

from aidsafe_dagster.engines.journal import PACKED_VERSION, Entry, Journal
from aidsafe_dagster.primitives.advisory_lock import AdvisoryLock
from aidsafe_dagster.recipe.dialogue import Completion
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Usage
from tests.distributed.postgres import Postgres, a_postgres
from tests.engines.test_journal import a_completion, a_request

pytestmark = pytest.mark.distributed
OPENING = 8
ADDED_COLUMNS = ("reasoning", "reasoning_tokens", "ended_early")
"""Those that the first release did not have."""


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with a_postgres() as server, pytest.MonkeyPatch.context() as environment:
        environment.setenv("PGPASSWORD", server.password)
        yield server


@pytest.mark.parametrize("database", [f"new_{n}" for n in range(10)])
def test_processes_that_open_a_new_journal_at_the_same_instant_agree_on_one_answer(
    postgres: Postgres, database: str
) -> None:
    postgres.create_database(database)
    together = Barrier(OPENING)

    def answer(number: int) -> str:
        together.wait()
        journal = Journal(postgres.url(database))
        recorded = journal.record(
            Entry("key", a_request(), a_completion(f"answer {number}"), 0.1)
        )
        journal.close()
        return recorded.text

    with ThreadPoolExecutor(OPENING) as pool:
        assert len(set(pool.map(answer, range(OPENING)))) == 1


TEXTS = ("", 'it\'s \\ {"a": 1}', "NULL", "ä 🧨\n\t", "a,b", "{}", "%s %(key)s :key")


def test_what_is_recorded_behind_a_lock_is_found_as_it_was_given(
    postgres: Postgres,
) -> None:
    entries = []
    for number, text in enumerate(TEXTS):
        # Of some rows only: elsewhere these columns are empty.
        usage = Usage(calls=1, completion_tokens=2, reasoning_tokens=number % 2)
        reasoning = text if number % 2 else ""
        completion = Completion(
            text=text,
            model="m",
            usage=usage,
            reasoning=reasoning,
            ended_early=reasoning,
        )
        entries.append(Entry(f"as given {number}", a_request(), completion, 0.25))
    postgres.create_database("as_given")
    url = postgres.url("as_given")
    lock = AdvisoryLock(url, "lake", "batch as given")
    with lock.hold("test"), closing(Journal(url, lock)) as journal:
        journal.record_all(entries[:1])
        journal.record_all(entries)
        found = journal.find_all([entry.key for entry in entries])
    assert found == {entry.key: entry.completion for entry in entries}


def test_entries_behind_a_lock_are_one_statement_however_many_there_are(
    postgres: Postgres,
) -> None:
    # A statement that is new each time is compiled each time, which takes longer than all the rest.
    statements: list[str] = []

    def note(*arguments: Any) -> None:
        statements.append(arguments[2])

    postgres.create_database("any_size")
    url = postgres.url("any_size")
    lock = AdvisoryLock(url, "lake", "batch of any size")
    with lock.hold("test"), closing(Journal(url, lock)) as journal:
        sa.event.listen(sa.Engine, "before_cursor_execute", note)
        try:
            for size in (1, 2, 50):
                entries = []
                for number in range(size):
                    key = f"{size} entries: {number}"
                    entries.append(Entry(key, a_request(), a_completion(), 0.1))
                journal.record_all(entries)
        finally:
            sa.event.remove(sa.Engine, "before_cursor_execute", note)
    inserts = [
        text for text in statements if text.startswith("INSERT INTO completions")
    ]
    assert len(inserts) == 3
    assert len(set(inserts)) == 1


def test_a_server_that_is_away_for_a_moment_is_waited_for(postgres: Postgres) -> None:
    journal = Journal(postgres.url())
    journal.record(Entry("before", a_request(), a_completion("kept"), 0.1))
    postgres.stop()
    back = Timer(1.0, postgres.start)
    back.start()
    journal.record(Entry("after", a_request(), a_completion("taken"), 0.1))
    completions = journal.find_all(["before", "after"])
    texts = {key: completion.text for key, completion in completions.items()}
    assert texts == {"before": "kept", "after": "taken"}
    # Not only for its own connection: it is committed.
    assert postgres.rows("SELECT count(*) FROM completions") == [(2,)]
    journal.close()
    back.join()


def test_a_journal_that_is_opened_while_its_server_starts_waits_for_it(
    postgres: Postgres,
) -> None:
    postgres.stop()
    back = Timer(2.0, postgres.start)
    back.start()
    journal = Journal(postgres.url())
    assert journal.find("no such key") is None
    journal.close()
    back.join()


def test_a_wrong_password_is_named_as_the_reason_and_not_shown(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "pg-marked-91f0")
    with pytest.raises(SetupError, match="password authentication failed") as caught:
        Journal(postgres.url())
    assert "pg-marked-91f0" not in str(caught.value)


@pytest.mark.parametrize("turn", range(3))
def test_a_journal_of_the_first_release_is_completed_by_all_that_open_it_at_once(
    postgres: Postgres, turn: int
) -> None:
    database = f"first_release_{turn}"
    postgres.create_database(database)
    journal = Journal(postgres.url(database))
    journal.record(Entry("old", a_request(), a_completion("kept"), 0.1))
    journal.close()
    for column in ADDED_COLUMNS:
        postgres.rows(f"ALTER TABLE completions DROP COLUMN {column}", database)
    together = Barrier(OPENING)

    def reopen(number: int) -> str:
        together.wait()
        journal = Journal(postgres.url(database))
        completions = journal.find_all(["old"])
        journal.record(Entry(f"new {number}", a_request(), a_completion("new"), 0.1))
        journal.close()
        return completions["old"].text

    with ThreadPoolExecutor(OPENING) as pool:
        assert set(pool.map(reopen, range(OPENING))) == {"kept"}


def test_a_journal_of_a_later_release_is_refused_and_stays_as_it_is(
    postgres: Postgres,
) -> None:
    postgres.create_database("later")
    url = postgres.url("later")
    Journal(url).close()
    later = PACKED_VERSION + 1
    postgres.rows(f"UPDATE journal SET version = {later}", "later")
    # The later release has this in another place.
    postgres.rows("ALTER TABLE completions DROP COLUMN reasoning", "later")
    with pytest.raises(
        SetupError, match=f"version {later} by a later release of aidsafe"
    ):
        Journal(url)
    columns = postgres.rows(
        "SELECT column_name FROM information_schema.columns"
        " WHERE table_name = 'completions'",
        "later",
    )
    assert ("reasoning",) not in columns
