"""Runs of the real daemon: a person terminates one, and the daemon ends or is killed."""

import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import dagster as dg
import psutil
import pytest

from aidsafe_dagster.runs.liveness import CANCELLED
from tests.automation.test_recovery import tick
from tests.faults.commands import (
    BATCH,
    SLOTS,
    answered_calls,
    command_of,
    fill,
    printed,
    processes_of,
    served_by,
    stage_texts,
    wait_until,
)
from tests.faults.conftest import Undisturbed
from tests.faults.test_killed import count_journaled
from tests.faults.web_ui import WebUI, a_web_ui
from tests.serving import ModelServer, a_model_server
from tests.site import Site, a_site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
CANCELED = dg.DagsterRunStatus.CANCELED
SUCCESS = dg.DagsterRunStatus.SUCCESS


def runs_of(site: Site) -> list[dg.DagsterRun]:
    """The runs of the batch, latest first."""
    return list(
        site.instance.get_runs(dg.RunsFilter(tags={"dagster/partition": BATCH}))
    )


def run_processes(site: Site) -> list[psutil.Process]:
    """The processes in which the daemon's runs are executed, and what these have started."""
    processes = []
    for process in processes_of(site.folder):
        command = command_of(process)
        if (
            "spawn_main" in command
            or "tail -F" in command
            or "watch_orphans" in command
        ):
            processes.append(process)
    return processes


def in_mid_batch(site: Site, server: ModelServer, ui: WebUI) -> dg.DagsterRun:
    """Launch the batch in the UI, and return its run once it has had some answers."""
    ui.backfill_assets([BATCH])
    wait_until(lambda: server.stats().get("ok", 0) >= 40, ui.alive)
    (run,) = runs_of(site)
    return run


@pytest.mark.parametrize("force", [False, True], ids=["terminated", "at once"])
def test_a_run_that_a_person_terminates_stays_down_and_is_resumed_by_hand(
    tmp_path: Path, undisturbed: Undisturbed, *, force: bool
) -> None:
    folder = tmp_path / "site"
    with a_model_server(tmp_path) as server:
        fill(folder, server)
        with a_site(folder, **served_by(server)) as site, a_web_ui(folder) as ui:
            run = in_mid_batch(site, server, ui)
            ui.terminate(run.run_id, force=force)
            wait_until(lambda: runs_of(site)[0].status is CANCELED, within_s=30)
            wait_until(lambda: not run_processes(site), within_s=30)
            stats = server.stats()
            assert stats["running"] + stats["waiting"] == 0
            messages = [entry.message for entry in site.instance.all_logs(run.run_id)]
            assert messages.count(CANCELLED) == 1
            assert tick(site) == []
            assert [run.status for run in runs_of(site)] == [CANCELED]
            ui.backfill_assets([BATCH])
            wait_until(lambda: runs_of(site)[0].status is SUCCESS, ui.alive, 240)
            assert stage_texts(site) == undisturbed.texts
        assert count_journaled(folder) == undisturbed.calls.total()
        repeated = answered_calls(server) - undisturbed.calls
        assert repeated.total() <= SLOTS  # those in flight when it was terminated


def kill_the_daemon(ui: WebUI, folder: Path) -> None:
    for process in processes_of(folder):
        if "dagster-daemon" in command_of(process):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)


def end_dev(ui: WebUI, folder: Path) -> None:
    for process in processes_of(folder):
        if "dev" in command_of(process).split():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGINT)


@pytest.mark.parametrize("end", [kill_the_daemon, end_dev])
def test_a_run_outlives_its_daemon_and_the_command_says_so(
    tmp_path: Path, undisturbed: Undisturbed, end: Callable[[WebUI, Path], None]
) -> None:
    folder = tmp_path / "site"
    with a_model_server(tmp_path) as server:
        fill(folder, server)
        with a_site(folder, **served_by(server)) as site, a_web_ui(folder) as ui:
            in_mid_batch(site, server, ui)
            end(ui, folder)
            wait_until(lambda: not ui.alive())
            assert "1 run goes on without them." in printed(folder)
            wait_until(lambda: runs_of(site)[0].status is SUCCESS, within_s=240)
            assert stage_texts(site) == undisturbed.texts
        assert answered_calls(server) == undisturbed.calls
