"""Two processes on one batch: the second says that it waits, and repeats no call."""

import threading
from contextlib import suppress
from pathlib import Path

import dagster as dg
import pytest

from aidsafe_dagster.runs.locks import batch_lock
from aidsafe_dagster.settings.schema import Settings
from tests.faults.commands import (
    BATCH,
    answered_calls,
    fill,
    served_by,
    stage_texts,
    wait_until,
)
from tests.faults.conftest import Undisturbed
from tests.faults.forks import forked, printed_by
from tests.serving import a_model_server
from tests.site import a_site, prompts_file, some_prompts


@pytest.mark.slow
def test_two_commands_make_a_batch_together_and_make_each_call_once(
    tmp_path: Path, undisturbed: Undisturbed
) -> None:
    folder = tmp_path / "site"
    with a_model_server(tmp_path) as server:
        fill(folder, server)
        with forked(folder, "backfill") as first:
            wait_until(lambda: server.stats().get("ok", 0) >= 1, first.is_alive)
            with forked(folder, "backfill") as second:
                for process in (first, second):
                    process.join(120)
                    assert process.exitcode == 0, printed_by(folder, process)
                assert (
                    f"Batch {BATCH} is being worked on by process {first.pid}"
                    in printed_by(folder, second)
                )
        assert answered_calls(server) == undisturbed.calls
        with a_site(folder, **served_by(server)) as site:
            assert stage_texts(site) == undisturbed.texts


@pytest.mark.slow
def test_a_run_and_a_command_on_one_batch_make_each_call_once(
    tmp_path: Path, undisturbed: Undisturbed
) -> None:
    folder = tmp_path / "site"
    with a_model_server(tmp_path) as server:
        fill(folder, server)
        with (
            forked(folder, "backfill") as command,
            a_site(folder, **served_by(server)) as site,
        ):
            wait_until(lambda: server.stats().get("ok", 0) >= 1, command.is_alive)
            run = site.make(BATCH)
            assert run.success, run.error
            command.join(120)
            assert command.exitcode == 0, printed_by(folder, command)
            assert answered_calls(server) == undisturbed.calls
            assert stage_texts(site) == undisturbed.texts


@pytest.mark.slow
def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    with a_model_server(tmp_path) as server:
        fill(folder, server)
        with forked(folder, "backfill") as command:
            wait_until(lambda: server.stats().get("ok", 0) >= 1, command.is_alive)
            lock = batch_lock(BATCH, Settings(home=folder / "data"))
            holder = lock.holder()
            assert holder is not None
            assert f"process {command.pid} " in holder
        assert lock.holder() is None


def test_a_run_that_waits_for_its_batch_can_be_cancelled(tmp_path: Path) -> None:
    with a_site(tmp_path, automation={"lost_after_s": 1.0}) as site:
        site.ingest(prompts_file(site.folder, some_prompts(3)))
        lock = batch_lock(BATCH, site.settings)
        with lock.hold("a test", print):
            cancelling = threading.Thread(
                target=_cancel_the_run_that_started, args=(site.instance,)
            )
            cancelling.start()
            with suppress(KeyboardInterrupt):  # as if by Ctrl-C
                assert not site.make(BATCH).success
            cancelling.join()
        assert not site.lake.has("prompts", BATCH)
        assert lock.holder() is None


def _cancel_the_run_that_started(instance: dg.DagsterInstance) -> None:
    # Dagster forgets a cancellation that comes before the run's first event.
    wait_until(lambda: bool(instance.get_runs(_STARTED)))
    instance.report_run_canceling(instance.get_runs(_STARTED)[0])


_STARTED = dg.RunsFilter(
    job_name="make_batch",
    tags={"dagster/partition": BATCH},
    statuses=[dg.DagsterRunStatus.STARTED],
)
