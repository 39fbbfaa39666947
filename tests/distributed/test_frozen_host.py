"""A host that is frozen in mid-batch for so long that another one takes its batches."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.distributed.postgres import Postgres, a_postgres
from tests.distributed.test_advisory_lock import end_sessions, wait_until_free
from tests.faults.commands import (
    AIDSAFE,
    SLOTS,
    answered_calls,
    is_running,
    printed,
    processes_of,
    started,
    wait_until,
)
from tests.faults.several_batches import Backfill, several_batches, texts_of
from tests.serving import a_model_server
from tests.site import Site, aidsafe_process

pytestmark = [pytest.mark.distributed, pytest.mark.timeout(900)]


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    with a_postgres() as server:
        yield server


def test_a_frozen_host_that_lost_its_batch_writes_nothing_more_when_it_thaws(
    tmp_path: Path, postgres: Postgres, undisturbed_backfill: Backfill
) -> None:
    with (
        a_model_server(tmp_path) as server,
        several_batches(tmp_path / "site", server) as site,
    ):
        variables = {
            "AIDSAFE_JOURNAL_URL": postgres.url(),
            "AIDSAFE_LAKE_URL": str(site.lake.root),
            "PGPASSWORD": postgres.password,
        }
        # A folder of its own, as on another host: only lake and database are shared.
        another = tmp_path / "another"
        shutil.copytree(site.folder, another)
        with started(site.folder, *AIDSAFE, "backfill", **variables) as frozen:
            wait_until(lambda: server.stats().get("ok", 0) >= 40, is_running(frozen))
            send_to_all(site, signal.SIGSTOP)
            # As the server does with a host that has fallen silent.
            end_sessions(postgres)
            wait_until_free(postgres)
            other = aidsafe_process(another, "backfill", **variables)
            assert other.returncode == 0, other.stdout + other.stderr
            assert texts_of(site) == undisturbed_backfill.texts
            before = written(site, postgres)
            send_to_all(site, signal.SIGCONT)
            assert frozen.wait(120) != 0, printed(site.folder)
        assert "lost its batch to another process" in printed(site.folder)
        assert "Traceback" not in printed(site.folder)
        assert written(site, postgres) == before
        repeated = answered_calls(server).total() - undisturbed_backfill.calls
        # In flight when it froze, and what it asked before it noticed.
        assert repeated <= 2 * SLOTS


def send_to_all(site: Site, number: signal.Signals) -> None:
    """Send a signal to every process of the site."""
    for process in processes_of(site.folder):
        process.send_signal(number)


def written(site: Site, postgres: Postgres) -> tuple[object, ...]:
    """The journal's entries, and when each file of the lake was written."""
    entries = postgres.rows("SELECT key, recorded_at FROM completions ORDER BY key")
    files = sorted(Path(str(site.lake.root)).rglob("*.parquet"))
    return entries, [(str(file), file.stat().st_mtime_ns) for file in files]
