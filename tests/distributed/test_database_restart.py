"""PostgreSQL, which holds journal and locks, is restarted in mid-batch, in good order and not."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.distributed.postgres import Postgres, a_postgres
from tests.faults.commands import (
    AIDSAFE,
    answered_calls,
    is_running,
    printed,
    started,
    wait_until,
)
from tests.faults.several_batches import Backfill, several_batches, texts_of
from tests.serving import a_model_server

pytestmark = [pytest.mark.distributed, pytest.mark.timeout(900)]
AWAY_S = 4.0


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    with a_postgres() as server:
        yield server


@pytest.mark.parametrize("end", [Postgres.stop, Postgres.kill])
def test_batches_outlast_restarts_of_the_database_and_no_call_is_made_again(
    tmp_path: Path,
    postgres: Postgres,
    undisturbed_backfill: Backfill,
    end: Callable[[Postgres], None],
) -> None:
    variables = {
        "AIDSAFE_JOURNAL_URL": postgres.url(),
        "PGPASSWORD": postgres.password,
    }
    with (
        a_model_server(tmp_path) as server,
        several_batches(tmp_path / "site", server) as site,
        started(site.folder, *AIDSAFE, "backfill", **variables) as backfill,
    ):
        for calls in (30, 90, 140):
            wait_until(
                lambda: server.stats().get("ok", 0) >= calls,  # noqa: B023
                is_running(backfill),
            )
            end(postgres)
            time.sleep(AWAY_S)
            postgres.start()
        assert backfill.wait(300) == 0, printed(site.folder)
        assert texts_of(site) == undisturbed_backfill.texts
        assert answered_calls(server).total() == undisturbed_backfill.calls
    ((journaled,),) = postgres.rows("SELECT count(*) FROM completions")
    assert journaled == undisturbed_backfill.calls
    assert is_free(postgres)


def is_free(postgres: Postgres) -> bool:
    """Whether no process holds a lock any more."""
    locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    return postgres.rows(locks) == [(0,)]
