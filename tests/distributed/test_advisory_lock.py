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
from threading import Event

import pytest

from aidsafe_dagster.primitives.advisory_lock import POLL_S, AdvisoryLock
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
