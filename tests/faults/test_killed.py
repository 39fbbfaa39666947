"""kill -9 at many instants; the same command then finishes as if nothing had happened."""

import random
import signal
import sqlite3
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import dagster as dg
import psutil
import pytest

from tests.faults.commands import (
    BATCH,
    SLOTS,
    answered_calls,
    command_of,
    fill,
    is_running,
    kill_all_of,
    printed,
    processes_of,
    served_by,
    stage_texts,
    started,
    wait_until,
)
from tests.faults.conftest import Undisturbed
from tests.faults.forks import forked, printed_by
from tests.serving import ModelServer, a_free_port, a_model_server
from tests.site import a_site

KILLS = 5
UNFINISHED = dg.RunsFilter(
    statuses=[dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTED]
)
DEADLY = (
    ("aidsafe_dagster.lake.lake:Lake.write", 2),
    ("pathlib:Path.replace", 3),
    ("aidsafe_dagster.stages.dialogue_stage:StageRun._metadata", 2),
    ("aidsafe_dagster.stages.checks:validate", 3),
    ("aidsafe_dagster.stages.checks:validate", 5),
    ("aidsafe_dagster.stages.checks:description_of", 2),
    ("dagster:DagsterInstance.handle_new_event", 20),
    ("aidsafe_dagster.cli.local_runs:give_back_memory", 1),
)
"""Functions, and the number of the call at which the process is killed.

The kills come while a file is written and while it is renamed, between rows and their metadata,
in a gate's check and after it, and when only the command's end is missing.
"""


def count_journaled(folder: Path) -> int:
    """Completions in the journal."""
    with closing(sqlite3.connect(folder / "data" / "journal.sqlite")) as connection:
        count: int = connection.execute("SELECT count(*) FROM completions").fetchone()[
            0
        ]
    return count


@pytest.mark.slow
def test_after_kills_at_many_instants_rows_are_right_and_no_recorded_call_was_made_again(
    tmp_path: Path, undisturbed: Undisturbed
) -> None:
    folder = tmp_path / "site"
    rng = random.Random(5)
    with a_model_server(tmp_path) as server:
        fill(folder, server)
        before = 0
        lost = list[int]()
        calls = Counter[tuple[str, str, int]]()
        for _ in range(KILLS):
            kill_while_it_calls(
                folder, server, calls=rng.randrange(1, 45), later_s=rng.uniform(0, 0.02)
            )
            new_calls = answered_calls(server)
            calls += new_calls
            journaled = count_journaled(folder)
            lost.append(before + new_calls.total() - journaled)
            before = journaled
            server.control(reset=True)
        with forked(folder, "backfill") as last:
            last.join(120)
            assert last.exitcode == 0, printed_by(folder, last)
        assert answered_calls(server).total() == count_journaled(folder) - before > 0
        with a_site(folder, **served_by(server)) as site:
            assert stage_texts(site) == undisturbed.texts
        assert (calls + answered_calls(server)).keys() == undisturbed.calls.keys()
    assert count_journaled(folder) == undisturbed.calls.total()
    assert max(lost) <= SLOTS


@pytest.mark.slow
def test_a_kill_between_a_file_its_event_and_its_gate_costs_no_recorded_call(
    tmp_path: Path, undisturbed: Undisturbed
) -> None:
    folder = tmp_path / "site"
    with a_model_server(tmp_path) as server:
        fill(folder, server)
        for place in DEADLY:
            with forked(folder, "backfill", dies_at=place) as process:
                process.join(120)
                assert process.exitcode == -signal.SIGKILL, printed_by(folder, process)
        with forked(folder, "backfill") as last:
            last.join(120)
            assert last.exitcode == 0, printed_by(folder, last)
        repeated = answered_calls(server) - undisturbed.calls
        assert repeated.total() <= SLOTS * len(DEADLY)  # those in flight at a kill
        with a_site(folder, **served_by(server)) as site:
            assert stage_texts(site) == undisturbed.texts
    assert count_journaled(folder) == undisturbed.calls.total()


def kill_while_it_calls(
    folder: Path, server: ModelServer, calls: int, later_s: float
) -> None:
    """Kill a backfill a little after the server has answered this many calls."""
    with forked(folder, "backfill") as process:
        wait_until(lambda: server.stats().get("ok", 0) >= calls, process.is_alive)
        time.sleep(later_s)


@pytest.mark.slow
def test_a_model_server_that_is_killed_and_started_again_is_waited_for(
    tmp_path: Path, undisturbed: Undisturbed
) -> None:
    folder = tmp_path / "site"
    port = a_free_port()
    with a_model_server(tmp_path, port=port) as server:
        fill(folder, server)
    with (
        a_model_server(tmp_path, port=port) as server,
        forked(folder, "backfill") as backfill,
    ):
        wait_until(lambda: server.stats().get("ok", 0) >= 40, backfill.is_alive)
        server_process(port).send_signal(signal.SIGKILL)
        time.sleep(1)
        with a_model_server(tmp_path, port=port) as again:
            backfill.join(120)
            assert backfill.exitcode == 0, printed_by(folder, backfill)
            # The probe whether the server is there has the role "default".
            calls = {call for call in answered_calls(again) if call[0] != "default"}
            assert calls < set(undisturbed.calls)
    with a_site(folder, **served_by(server)) as site:
        assert stage_texts(site) == undisturbed.texts


def server_process(port: int) -> psutil.Process:
    """The process of the model server that listens at this port."""
    children = psutil.Process().children()
    (process,) = [child for child in children if str(port) in command_of(child)]
    return process


@pytest.mark.slow  # minutes: the daemon looks every 30 s
def test_a_batch_whose_daemon_code_server_and_run_were_killed_is_finished_by_the_next_daemon(
    tmp_path: Path, undisturbed: Undisturbed
) -> None:
    folder = tmp_path / "site"
    with a_model_server(tmp_path) as server:
        fill(folder, server)
        dagster = str(Path(sys.executable).with_name("dagster"))
        launched = (
            "job",
            "launch",
            "-j",
            "make_batch",
            "-w",
            "workspace.yaml",
            "--tags",
        )
        with started(
            folder, dagster, *launched, f'{{"dagster/partition": "{BATCH}"}}'
        ) as launch:
            assert launch.wait(60) == 0, printed(folder)
        daemon = str(Path(sys.executable).with_name("dagster-daemon"))
        with started(folder, daemon, "run", "-w", "workspace.yaml") as first:
            wait_until(lambda: server.stats().get("ok", 0) >= 40, is_running(first))
            assert len(processes_of(folder)) >= 3
        assert processes_of(folder) == []
        with (
            a_site(folder, **served_by(server)) as site,
            started(folder, daemon, "run", "-w", "workspace.yaml") as second,
        ):
            is_alive = is_running(second)
            wait_until(
                lambda: site.lake.has("fine_tune_splits", BATCH), is_alive, within_s=240
            )
            wait_until(
                lambda: not site.instance.get_runs_count(filters=UNFINISHED), is_alive
            )
            kill_all_of(folder)
            assert stage_texts(site) == undisturbed.texts
        repeated = answered_calls(server) - undisturbed.calls
        assert repeated.total() <= SLOTS  # those in flight at the kill
