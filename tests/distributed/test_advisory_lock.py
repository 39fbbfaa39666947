"""Advisory locks among hosts, on a real PostgreSQL server: held by one host, free when it dies."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Timer

import pytest

from aidsafe_dagster.primitives.advisory_lock import POLL_S, AdvisoryLock
from aidsafe_dagster.primitives.held_lock import LockLost
from aidsafe_dagster.recipe.errors import SetupError
from tests.distributed.hosts import a_network, some_hosts
from tests.distributed.postgres import Postgres, a_postgres
from tests.serving import a_free_port
from tests.site import ROOT

pytestmark = pytest.mark.distributed
BATCH = "batch mine-0001"
LAKE = "data/lake"
HOLD = f"""
import sys, time
from aidsafe_dagster.primitives.advisory_lock import AdvisoryLock
with AdvisoryLock(sys.argv[1], {LAKE!r}, {BATCH!r}).hold("", print):
    print("held", flush=True)
    time.sleep(240)
"""

WRITES = f"""
import sys, threading
from itertools import count
from aidsafe_dagster.engines.journal import Entry, Journal
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.primitives.advisory_lock import AdvisoryLock
from aidsafe_dagster.recipe.dialogue import Completion
from aidsafe_dagster.recipe.records import Failure, Usage
from tests.engines.test_journal import a_request
url, folder = sys.argv[1:]
lock = AdvisoryLock(url, {LAKE!r}, {BATCH!r})
def record():
    journal = Journal(url, lock)
    for n in count():
        completion = Completion(text="yes", model="m", usage=Usage(calls=1))
        journal.record_all([Entry(f"key {{n}}", a_request(), completion, 0.0)])
with lock.hold("", print):
    print("writing", flush=True)
    lake = Lake(folder, lock.confirm)
    threading.Thread(target=record, daemon=True).start()
    while True:
        try:
            lake.store("seed_cots", "mine-0001", [], Failure)
        except BaseException as error:
            print(error, flush=True)
            raise
"""


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with a_postgres() as server, pytest.MonkeyPatch.context() as environment:
        environment.setenv("PGPASSWORD", server.password)
        yield server


def lock_on(postgres: Postgres, name: str = BATCH, lake: str = LAKE) -> AdvisoryLock:
    return AdvisoryLock(postgres.url(), lake, name)


@contextmanager
def another_host(postgres: Postgres) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the batch."""
    command = [sys.executable, "-c", HOLD, postgres.url()]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def is_held(postgres: Postgres) -> bool:
    ((count,),) = postgres.rows(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    )
    return int(count) > 0


def wait_until_held(postgres: Postgres) -> None:
    deadline = time.monotonic() + 60
    while not is_held(postgres):
        assert time.monotonic() < deadline
        time.sleep(POLL_S / 10)


def test_the_second_host_waits_for_the_first_and_is_told_who_that_is(
    postgres: Postgres,
) -> None:
    messages = list[str]()
    is_over = Event()

    def second() -> bool:
        with lock_on(postgres).hold("", messages.append):
            return is_over.is_set()

    with ThreadPoolExecutor() as pool:
        with lock_on(postgres).hold("", messages.append):
            waiting = pool.submit(second)
            while not messages:
                time.sleep(0.05)
            is_over.set()
        assert waiting.result(60)
    holder = f"process {os.getpid()} on {os.uname().nodename}"
    assert messages == [
        f"{BATCH} is being worked on by {holder}; waiting for it to end"
    ]
    assert not is_held(postgres)


def test_other_batches_and_other_lakes_are_not_waited_for(postgres: Postgres) -> None:
    messages = list[str]()
    with lock_on(postgres).hold("", messages.append):
        assert lock_on(postgres).is_held()
        assert not lock_on(postgres, "batch mine-0002").is_held()
        assert not lock_on(postgres, lake="s3://another/lake").is_held()
    assert not lock_on(postgres).is_held()
    assert messages == []


def test_what_a_killed_process_held_is_free(postgres: Postgres) -> None:
    with another_host(postgres) as holder:
        holder.kill()
        with lock_on(postgres).hold("", print):
            assert holder.poll() is not None


def test_a_host_that_is_cut_off_holds_nothing_for_longer_than_the_server_puts_up_with(
    tmp_path: Path,
) -> None:
    with a_network() as network, a_postgres(network.address) as postgres:
        if not network.isolated:
            pytest.skip("a cable can be pulled out of namespaces alone")
        variables = {"PGPASSWORD": postgres.password, "PYTHONPATH": str(ROOT)}
        with (
            pytest.MonkeyPatch.context() as environment,
            some_hosts(network, tmp_path, ("silent",), variables) as (host,),
        ):
            environment.setenv("PGPASSWORD", postgres.password)
            host.start(sys.executable, "-c", HOLD, postgres.url())
            wait_until_held(postgres)
            network.unplug(host)
            with lock_on(postgres).hold("", print):
                assert host.running[0].poll() is None


def test_a_lock_that_is_asked_for_while_the_server_starts_is_taken_once_it_is_there(
    postgres: Postgres,
) -> None:
    lock = lock_on(postgres)
    with another_host(postgres):
        # Its connection stays open while it waits, and breaks with the server.
        assert not lock.try_hold("")
    postgres.stop()
    back = Timer(2.0, postgres.start)
    back.start()
    with lock.hold("", print):
        assert lock.is_held()
    back.join()


def test_a_lock_is_taken_again_when_the_server_was_away(postgres: Postgres) -> None:
    with another_host(postgres) as holder:
        postgres.stop()
        postgres.start()
        wait_until_held(postgres)
        assert holder.poll() is None


def test_a_process_whose_lock_another_host_took_meanwhile_is_interrupted(
    postgres: Postgres,
) -> None:
    with another_host(postgres) as holder:
        holder.send_signal(signal.SIGSTOP)
        postgres.stop()
        postgres.start()
        with lock_on(postgres).hold("", print):
            holder.send_signal(signal.SIGCONT)
            assert holder.wait(60) != 0


def test_who_was_paused_while_another_host_came_and_went_has_lost_the_lock(
    postgres: Postgres,
) -> None:
    with lock_on(postgres).hold("", print):
        pass
    # The server needs a moment to notice that the connection is closed.
    wait_until_free(postgres)
    lock = lock_on(postgres)
    assert lock.try_hold("")
    lock.confirm()
    end_sessions(postgres)
    with another_host(postgres) as other:
        other.kill()
        other.wait()
    wait_until_free(postgres)
    with pytest.raises(LockLost, match=f"{BATCH} was lost"):
        lock.confirm()
    # It stays lost, although nobody holds it now.
    with pytest.raises(LockLost):
        lock.confirm()
    lock.release()
    assert not is_held(postgres)


def test_a_lock_whose_session_ended_is_confirmed_if_nobody_took_it_meanwhile(
    postgres: Postgres,
) -> None:
    lock = lock_on(postgres)
    assert lock.try_hold("")
    end_sessions(postgres)
    wait_until_free(postgres)
    lock.confirm()
    assert is_held(postgres)
    lock.release()
    lock.confirm()


def test_a_paused_process_that_lost_its_lock_writes_nothing_more(
    postgres: Postgres, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", WRITES, postgres.url(), str(tmp_path / "lake")]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "writing\n"
            wait_until_written(postgres)
            writer.send_signal(signal.SIGSTOP)
            end_sessions(postgres)
            wait_until_free(postgres)
            with lock_on(postgres).hold("", print):
                before = written_by(postgres, tmp_path)
                writer.send_signal(signal.SIGCONT)
                assert writer.wait(60) != 0
            assert written_by(postgres, tmp_path) == before
        finally:
            writer.kill()


def end_sessions(postgres: Postgres) -> None:
    """End every session that holds a lock, as the server does with a host that is cut off."""
    postgres.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_locks"
        " WHERE locktype = 'advisory' AND granted"
    )


def wait_until_free(postgres: Postgres) -> None:
    deadline = time.monotonic() + 60
    while is_held(postgres):
        assert time.monotonic() < deadline
        time.sleep(POLL_S / 10)


def count_of_entries(postgres: Postgres) -> int:
    if postgres.rows("SELECT to_regclass('completions')") == [(None,)]:
        return 0
    ((count,),) = postgres.rows("SELECT count(*) FROM completions")
    return int(count)


def wait_until_written(postgres: Postgres) -> None:
    deadline = time.monotonic() + 60
    while count_of_entries(postgres) < 5:
        assert time.monotonic() < deadline
        time.sleep(POLL_S / 10)


def written_by(postgres: Postgres, folder: Path) -> tuple[int, list[int]]:
    """How many entries the journal has, and when each file of the lake was written."""
    # Without the temporary file of a writer.
    files = sorted((folder / "lake").rglob("[!.]*.parquet"))
    return count_of_entries(postgres), [file.stat().st_mtime_ns for file in files]


def test_a_server_that_cannot_be_reached_is_named_without_its_password() -> None:
    url = f"postgresql+psycopg2://me:zqmk-lock@127.0.0.1:{a_free_port()}/none"
    with (
        pytest.raises(
            SetupError, match=r"me:\*\*\*@127.0.0.1.*cannot be used"
        ) as refused,
        AdvisoryLock(url, LAKE, BATCH).hold("", print),
    ):
        pass
    assert "zqmk-lock" not in str(refused.value)
