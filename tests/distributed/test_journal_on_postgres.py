"""The journal in PostgreSQL: shared, patient, and silent about its password."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Timer

import pytest

from aidsafe_dagster.engines.journal import Entry, Journal
from aidsafe_dagster.recipe.errors import SetupError
from tests.distributed.postgres import Postgres, a_postgres
from tests.engines.test_journal import a_completion, a_request

pytestmark = pytest.mark.distributed
OPENING = 8


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
    journal.close()
    back.join()


def test_a_wrong_password_is_named_as_the_reason_and_not_shown(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "pg-marked-91f0")
    with pytest.raises(SetupError, match="password authentication failed") as caught:
        Journal(postgres.url())
    assert "pg-marked-91f0" not in str(caught.value)
