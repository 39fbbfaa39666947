"""Two who work on one batch at once: the second waits in so many words, and asks nothing again."""

import threading
from contextlib import suppress
from pathlib import Path

import dagster as dg
import pytest

from aidsafe_dagster.runs.batch_lock import hold_batch_lock, holder_of
from tests.faults.commands import BATCH, answered, fill, served_by, texts_made, until
from tests.faults.conftest import Undisturbed
from tests.faults.forks import forked, said
from tests.serving import a_model_server
from tests.site import a_site, prompts_file, some_prompts


@pytest.mark.slow
def test_two_commands_make_a_batch_as_one_and_ask_everything_once(
    tmp_path: Path, undisturbed: Undisturbed
) -> None:
    folder = tmp_path / "site"
    with a_model_server(tmp_path) as server:
        fill(folder, server)
        with forked(folder, "backfill") as first:
            until(lambda: server.stats().get("ok", 0) >= 1, first.is_alive)
            with forked(folder, "backfill") as second:
                for process in (first, second):
                    process.join(120)
                    assert process.exitcode == 0, said(folder, process)
                assert f"Batch {BATCH} is being worked on by process {first.pid}" in said(
                    folder, second
                )
        assert answered(server) == undisturbed.asked
        with a_site(folder, **served_by(server)) as site:
            assert texts_made(site) == undisturbed.texts


@pytest.mark.slow
def test_a_run_and_a_command_on_one_batch_ask_everything_once(
    tmp_path: Path, undisturbed: Undisturbed
) -> None:
    folder = tmp_path / "site"
    with a_model_server(tmp_path) as server:
        fill(folder, server)
        with forked(folder, "backfill") as command, a_site(folder, **served_by(server)) as site:
            until(lambda: server.stats().get("ok", 0) >= 1, command.is_alive)
            run = site.make(BATCH)
            assert run.success, run.error
            command.join(120)
            assert command.exitcode == 0, said(folder, command)
            assert answered(server) == undisturbed.asked
            assert texts_made(site) == undisturbed.texts


@pytest.mark.slow
def test_what_a_killed_process_held_is_free(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    with a_model_server(tmp_path) as server:
        fill(folder, server)
        with forked(folder, "backfill") as command:
            until(lambda: server.stats().get("ok", 0) >= 1, command.is_alive)
            holder = holder_of(BATCH, folder / "data")
            assert holder is not None
            assert f"process {command.pid} " in holder
        assert holder_of(BATCH, folder / "data") is None


def test_a_run_that_waits_for_its_batch_can_be_cancelled(tmp_path: Path) -> None:
    with a_site(tmp_path, automation={"lost_after_s": 1.0}) as site:
        site.ingest(prompts_file(site.folder, some_prompts(3)))
        with hold_batch_lock(BATCH, site.settings.home, "a test", print):
            cancelling = threading.Thread(
                target=_cancel_the_run_that_started, args=(site.instance,)
            )
            cancelling.start()
            with suppress(KeyboardInterrupt):  # as if by Ctrl-C
                assert not site.make(BATCH).success
            cancelling.join()
        assert not site.lake.has("prompts", BATCH)
        assert holder_of(BATCH, site.settings.home) is None


def _cancel_the_run_that_started(instance: dg.DagsterInstance) -> None:
    until(lambda: bool(instance.get_runs(_OF_THE_BATCH)))
    instance.report_run_canceling(instance.get_runs(_OF_THE_BATCH)[0])


_OF_THE_BATCH = dg.RunsFilter(job_name="make_batch", tags={"dagster/partition": BATCH})
