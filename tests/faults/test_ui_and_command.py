"""The web UI, the command line and the daemon's recovery make the same batches at the same time."""

from pathlib import Path

import dagster as dg
import pytest

from tests.faults.commands import SLOTS, answered_calls, wait_until
from tests.faults.forks import forked, printed_by
from tests.faults.several_batches import BATCHES, Backfill, several_batches, texts_of
from tests.faults.web_ui import a_web_ui
from tests.serving import a_model_server
from tests.site import Site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_a_backfill_in_the_ui_and_two_commands_make_each_call_of_the_same_batches_once(
    tmp_path: Path, undisturbed_backfill: Backfill
) -> None:
    with (
        a_model_server(tmp_path) as server,
        several_batches(tmp_path / "site", server) as site,
        a_web_ui(site.folder) as ui,
    ):
        ui.backfill_job(BATCHES)
        with forked(site.folder, "backfill") as command:
            wait_until(lambda: server.stats().get("ok", 0) >= 40, command.is_alive)
            with forked(site.folder, "backfill") as other:
                for process in (command, other):
                    process.join(300)
                    assert process.exitcode == 0, printed_by(site.folder, process)
        wait_until(lambda: are_over(site), ui.alive, within_s=200)
        assert texts_of(site) == undisturbed_backfill.texts
        assert answered_calls(server).total() == undisturbed_backfill.calls


def test_a_command_that_is_killed_beside_the_ui_leaves_its_batch_to_the_daemon(
    tmp_path: Path, undisturbed_backfill: Backfill
) -> None:
    with (
        a_model_server(tmp_path) as server,
        several_batches(tmp_path / "site", server) as site,
        a_web_ui(site.folder) as ui,
    ):
        with forked(site.folder, "backfill") as command:
            wait_until(lambda: server.stats().get("ok", 0) >= 40, command.is_alive)
            ui.backfill_job(BATCHES)
            wait_until(lambda: server.stats()["ok"] >= 100, command.is_alive)
        wait_until(lambda: is_made(site), ui.alive, within_s=300)
        assert texts_of(site) == undisturbed_backfill.texts
        repeated = answered_calls(server).total() - undisturbed_backfill.calls
        assert repeated <= SLOTS  # those in flight at the kill


def are_over(site: Site) -> bool:
    """Whether each batch has a run of the UI, and none goes on."""
    runs = site.instance.get_runs(dg.RunsFilter(job_name="make_batch"))
    finished = [run for run in runs if run.is_finished]
    return len(finished) == len(runs) >= len(BATCHES)


def is_made(site: Site) -> bool:
    has_splits = set(site.lake.batches("fine_tune_splits"))
    return has_splits == set(BATCHES) and are_over(site)
