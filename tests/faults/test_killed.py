"""kill -9 of all there is of a site, at many instants; then the same command finishes as if nothing had happened."""

import os
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
    answered,
    fill,
    kill_all_of,
    lives,
    printed,
    processes_of,
    served_by,
    started,
    texts_made,
    until,
)
from tests.faults.conftest import Undisturbed
from tests.faults.forks import forked, said
from tests.serving import ModelServer, a_free_port, a_model_server
from tests.site import a_site

KILLS = 5
DEADLY = (
    ("aidsafe_dagster.lake.lake:Lake.write", 2),
    ("pathlib:Path.replace", 3),
    ("aidsafe_dagster.stages.dialogue_stage:_metadata", 2),
    ("aidsafe_dagster.stages.gates:validate", 3),
    ("aidsafe_dagster.stages.gates:validate", 5),
    ("aidsafe_dagster.stages.gates:_described", 2),
    ("dagster:DagsterInstance.handle_new_event", 20),
    ("aidsafe_dagster.cli.local_runs:_give_back_memory", 1),
)
"""Functions, and which call of them is the last: at a file's writing and its appearing, between rows and what is told
of them, within a gate's check and after it, and when all is done but the command's end."""


def recorded(folder: Path) -> int:
    """Completions in the journal."""
    with closing(sqlite3.connect(folder / "data" / "journal.sqlite")) as connection:
        found: int = connection.execute("SELECT count(*) FROM completions").fetchone()[0]
    return found


@pytest.mark.slow
def test_after_kills_at_many_instants_rows_are_right_and_no_recorded_call_was_made_again(
    tmp_path: Path, undisturbed: Undisturbed
) -> None:
    folder, chance = tmp_path / "site", random.Random(5)
    with a_model_server(tmp_path) as server:
        fill(folder, server)
        before, lost, asked = 0, [], Counter[tuple[str, str, int]]()
        for _ in range(KILLS):
            killed_while_it_asks(
                folder, server, more=chance.randrange(1, 45), later_s=chance.uniform(0, 0.02)
            )
            asked += (answers := answered(server))
            lost.append(before + answers.total() - (before := recorded(folder)))
            server.control(reset=True)
        with forked(folder, "backfill") as last:
            last.join(120)
            assert last.exitcode == 0, said(folder, last)
        assert answered(server).total() == recorded(folder) - before > 0
        with a_site(folder, **served_by(server)) as site:
            assert texts_made(site) == undisturbed.texts
        assert (asked + answered(server)).keys() == undisturbed.asked.keys()
    assert recorded(folder) == undisturbed.asked.total()
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
                assert process.exitcode == -signal.SIGKILL, said(folder, process)
        with forked(folder, "backfill") as last:
            last.join(120)
            assert last.exitcode == 0, said(folder, last)
        assert (answered(server) - undisturbed.asked).total() <= SLOTS * len(
            DEADLY
        )  # those in flight
        with a_site(folder, **served_by(server)) as site:
            assert texts_made(site) == undisturbed.texts
    assert recorded(folder) == undisturbed.asked.total()


def killed_while_it_asks(folder: Path, server: ModelServer, more: int, later_s: float) -> None:
    """Kills a backfill once the server has answered so many calls more."""
    with forked(folder, "backfill") as process:
        until(lambda: server.stats().get("ok", 0) >= more, process.is_alive)
        time.sleep(later_s)


@pytest.mark.slow
def test_a_model_server_that_is_killed_and_started_again_is_waited_for(
    tmp_path: Path, undisturbed: Undisturbed
) -> None:
    folder, port = tmp_path / "site", a_free_port()
    with a_model_server(tmp_path, port=port) as server:
        fill(folder, server)
    with a_model_server(tmp_path, port=port) as server, forked(folder, "backfill") as backfill:
        until(lambda: server.stats().get("ok", 0) >= 40, backfill.is_alive)
        listening(port).send_signal(signal.SIGKILL)
        time.sleep(1)
        with a_model_server(tmp_path, port=port) as again:
            backfill.join(120)
            assert backfill.exitcode == 0, said(folder, backfill)
            asked = {
                question for question in answered(again) if question[0] != "default"
            }  # whether it is there
            assert asked < set(undisturbed.asked)
    with a_site(folder, **served_by(server)) as site:
        assert texts_made(site) == undisturbed.texts


def listening(port: int) -> psutil.Process:
    """The model server of this test that listens there."""
    children = psutil.Process().children()
    (found,) = [
        child for child in children if str(port) in child.cmdline() and os.getpid() == child.ppid()
    ]
    return found


@pytest.mark.slow  # minutes: the daemon looks every 30 s
def test_a_batch_whose_daemon_code_server_and_run_were_killed_is_finished_by_the_next_daemon(
    tmp_path: Path, undisturbed: Undisturbed
) -> None:
    folder = tmp_path / "site"
    with a_model_server(tmp_path) as server:
        fill(folder, server)
        dagster = str(Path(sys.executable).with_name("dagster"))
        launched = ("job", "launch", "-j", "make_batch", "-w", "workspace.yaml", "--tags")
        with started(folder, dagster, *launched, f'{{"dagster/partition": "{BATCH}"}}') as launch:
            assert launch.wait(60) == 0, printed(folder)
        daemon = str(Path(sys.executable).with_name("dagster-daemon"))
        with started(folder, daemon, "run", "-w", "workspace.yaml") as first:
            until(lambda: server.stats().get("ok", 0) >= 40, lives(first))
            assert len(processes_of(folder)) >= 3
        assert processes_of(folder) == []
        with (
            a_site(folder, **served_by(server)) as site,
            started(folder, daemon, "run", "-w", "workspace.yaml") as one,
        ):
            until(lambda: site.lake.has("fine_tune_splits", BATCH), lives(one), within_s=240)
            until(lambda: not site.instance.get_runs_count(filters=going_on()), lives(one))
            kill_all_of(folder)
            assert texts_made(site) == undisturbed.texts
        twice = answered(server) - undisturbed.asked
        assert twice.total() <= SLOTS  # those in flight at the kill


def going_on() -> dg.RunsFilter:
    return dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTED])
