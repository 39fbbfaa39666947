"""What one host works on no other takes, and what holds it ends with its process; on a real PostgreSQL server."""

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

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.runs.advisory_lock import (
    LOOK_EVERY_S,
    advisory_lock_is_free,
    hold_advisory_lock,
)
from aidsafe_dagster.settings.schema import Settings
from tests.distributed.hosts import a_network, some_hosts
from tests.distributed.postgres import Postgres, a_postgres
from tests.serving import a_free_port
from tests.site import ROOT

pytestmark = pytest.mark.distributed
BATCH = "batch mine-0001"
HOLD = f"""
import sys, time
from aidsafe_dagster.runs.advisory_lock import hold_advisory_lock
from aidsafe_dagster.settings.schema import Settings
with hold_advisory_lock({BATCH!r}, Settings(journal_url=sys.argv[1]), print):
    print("held", flush=True)
    time.sleep(240)
"""


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with a_postgres() as server, pytest.MonkeyPatch.context() as environment:
        environment.setenv("PGPASSWORD", server.password)
        yield server


def sharing(postgres: Postgres, **others: str) -> Settings:
    return Settings(journal_url=postgres.url(), **others)


@contextmanager
def another_host(postgres: Postgres) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the batch."""
    command = [sys.executable, "-c", HOLD, postgres.url()]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
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
        time.sleep(LOOK_EVERY_S / 10)


def test_the_second_host_waits_for_the_first_and_is_told_who_that_is(postgres: Postgres) -> None:
    settings, told, over = sharing(postgres), list[str](), Event()

    def second() -> bool:
        with hold_advisory_lock(BATCH, settings, told.append):
            return over.is_set()

    with ThreadPoolExecutor() as pool:
        with hold_advisory_lock(BATCH, settings, told.append):
            waiting = pool.submit(second)
            while not told:
                time.sleep(0.05)
            over.set()
        assert waiting.result(60)
    assert told == [
        f"{BATCH} is being worked on by process {os.getpid()} on {os.uname().nodename}; waiting for it to end"
    ]
    assert not is_held(postgres)


def test_other_batches_and_other_lakes_are_not_waited_for(postgres: Postgres) -> None:
    told = list[str]()
    with hold_advisory_lock(BATCH, sharing(postgres), told.append):
        assert not advisory_lock_is_free(BATCH, sharing(postgres))
        assert advisory_lock_is_free("batch mine-0002", sharing(postgres))
        assert advisory_lock_is_free(BATCH, sharing(postgres, lake_url="s3://another/lake"))
    assert advisory_lock_is_free(BATCH, sharing(postgres))
    assert told == []


def test_what_a_killed_process_held_is_free(postgres: Postgres) -> None:
    with another_host(postgres) as holder:
        holder.kill()
        with hold_advisory_lock(BATCH, sharing(postgres), print):
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
            with hold_advisory_lock(BATCH, sharing(postgres), print):
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
        with hold_advisory_lock(BATCH, sharing(postgres), print):
            holder.send_signal(signal.SIGCONT)
            assert holder.wait(60) != 0


def test_a_server_that_cannot_be_reached_is_named_without_its_password() -> None:
    url = f"postgresql+psycopg2://me:zqmk-lock@127.0.0.1:{a_free_port()}/none"
    with (
        pytest.raises(SetupError, match=r"me:\*\*\*@127.0.0.1.*cannot be used") as refused,
        hold_advisory_lock(BATCH, Settings(journal_url=url), print),
    ):
        pass
    assert "zqmk-lock" not in str(refused.value)
