"""Runs that hold their lock are alive; what becomes of those that do not, or that end elsewhere."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import dagster as dg
import pytest

from aidsafe_dagster.runs.abandoned_runs import HANDED_OVER_WITHIN
from aidsafe_dagster.runs.liveness import (
    LOCK_TAG,
    SILENT_TAG,
    hold_run,
    release_run,
    report_dead_runs,
)
from aidsafe_dagster.runs.locks import run_lock, run_lock_file
from aidsafe_dagster.runs.process_tags import (
    ALIVE_TAG,
    CLAIMED_TAG,
    PROCESS_TAG,
    this_process,
)
from tests.site import (
    Site,
    a_site,
    environment,
    last_touched,
    prompts_file,
    some_prompts,
)

ELSEWHERE = "another-host:1:0.00"
DEAD = f"{socket.gethostname()}:1:-1.00"
"""No process of this host started before the host was booted."""
FAILURE = dg.DagsterRunStatus.FAILURE
STARTED = dg.DagsterRunStatus.STARTED
STARTING = dg.DagsterRunStatus.STARTING
LOST_AFTER_S = 4
HOLDS_A_RUN = """
import sys, time
from aidsafe_dagster.cli.local_runs import open_instance
from aidsafe_dagster.runs.liveness import hold_run
from aidsafe_dagster.settings.load import load_settings
with open_instance() as instance:
    run = instance.get_run_by_id(sys.argv[1])
    with hold_run(instance, run, load_settings().settings):
        print("held", flush=True)
        time.sleep(240)
"""
Ending = Callable[[dg.DagsterInstance, dg.DagsterRun], object]


def a_started_run(
    site: Site,
    tags: dict[str, str] | None = None,
    status: dg.DagsterRunStatus = STARTED,
    repeats: dg.DagsterRun | None = None,
) -> dg.DagsterRun:
    """A run; if it repeats another, it has that one's tags, as Dagster creates it."""
    from aidsafe_dagster.definitions import defs

    job = defs.resolve_job_def("make_batch")
    inherited = tags_of(site, repeats.run_id) if repeats else {}
    parent_id = repeats.run_id if repeats else None
    return site.instance.create_run_for_job(
        job,
        status=status,
        tags=inherited | (tags or {}),
        parent_run_id=parent_id,
        root_run_id=parent_id,
    )


def a_run_of_another_host(site: Site) -> dg.DagsterRun:
    """A run that claimed its lock on another host; nobody holds it now."""
    run = a_started_run(site)
    claim = {
        PROCESS_TAG: ELSEWHERE,
        CLAIMED_TAG: run.run_id,
        LOCK_TAG: str(run_lock_file(run.run_id, site.settings)),
        SILENT_TAG: "",
    }
    site.instance.add_run_tags(run.run_id, claim)
    return run


def status_of(site: Site, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    current = site.instance.get_run_by_id(run.run_id)
    assert current is not None
    return current.status


def a_launcher_tag(path: Path) -> dict[str, str]:
    """What Dagster's launcher notes of the code server that it asks to start a run."""
    return {
        ".dagster/grpc_info": json.dumps({"host": "localhost", "socket": str(path)})
    }


def in_seconds(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def tags_of(site: Site, run_id: str) -> dict[str, str]:
    run = site.instance.get_run_by_id(run_id)
    assert run is not None
    return dict(run.tags)


@contextmanager
def held(site: Site, run: dg.DagsterRun) -> Iterator[None]:
    """The run goes on in this process while the block lasts."""
    try:
        with hold_run(site.instance, run, site.settings):
            yield
    finally:
        release_run(run.run_id)


@contextmanager
def a_process_that_holds(
    site: Site, run: dg.DagsterRun
) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLDS_A_RUN, run.run_id]
    with subprocess.Popen(
        command, env=environment(site.folder), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def go_on_although_it_ends(site: Site, run: dg.DagsterRun, end: Ending) -> None:
    with held(site, run):
        end(site.instance, run)
        time.sleep(30)


def test_every_run_of_every_job_is_claimed_and_holds_its_lock_until_it_is_over(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path) as site:
        holders = dict[str, str]()
        reported = list[str]()
        is_over = False

        def look() -> None:
            """Note who holds the lock of each run, and which runs are taken for dead."""
            with dg.DagsterInstance.from_config(str(site.folder)) as instance:
                while not is_over:
                    reported.extend(report_dead_runs(instance))
                    for run in instance.get_runs(dg.RunsFilter(statuses=[STARTED])):
                        holder = run_lock(run.run_id, site.settings).holder()
                        if holder is not None:
                            holders[run.run_id] = holder
                    time.sleep(0.02)

        observer = Thread(target=look)
        observer.start()
        runs = [
            site.ingest(prompts_file(site.folder, some_prompts(3))),
            site.make("mine-0001"),
        ]
        is_over = True
        observer.join()
        assert reported == []
        for run in runs:
            tags = tags_of(site, run.run_id)
            assert tags[PROCESS_TAG] == this_process()
            assert tags[CLAIMED_TAG] == run.run_id
            assert f"(run {run.run_id[:8]})" in holders[run.run_id]
            assert not run_lock(run.run_id, site.settings).is_held()
            assert not Path(tags[LOCK_TAG]).exists()


def test_a_run_whose_lock_is_held_is_alive_and_dead_at_once_when_its_process_is_killed(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path) as site:
        run = a_started_run(site)
        with a_process_that_holds(site, run) as process:
            assert report_dead_runs(site.instance) == []
            process.kill()
            process.wait()
            assert report_dead_runs(site.instance) == [run.run_id]
        assert status_of(site, run) is FAILURE


def test_a_run_of_another_host_is_dead_once_its_lock_was_free_for_too_long(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path, automation={"lost_after_s": LOST_AFTER_S}) as site:
        run = a_run_of_another_host(site)
        assert report_dead_runs(site.instance) == []
        assert report_dead_runs(site.instance) == []
        time.sleep(LOST_AFTER_S + 1.1)  # the note is in whole seconds
        assert report_dead_runs(site.instance) == [run.run_id]


def test_a_run_whose_lock_is_held_is_alive_whichever_host_it_is_on(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path, automation={"lost_after_s": LOST_AFTER_S}) as site:
        run = a_run_of_another_host(site)
        site.instance.add_run_tags(run.run_id, {SILENT_TAG: in_seconds(-60)})
        with run_lock(run.run_id, site.settings).hold("another host"):
            assert report_dead_runs(site.instance) == []
        assert report_dead_runs(site.instance) == [run.run_id]


def test_a_living_run_wipes_the_note_out_that_it_was_silent(tmp_path: Path) -> None:
    with a_site(tmp_path, automation={"lost_after_s": LOST_AFTER_S}) as site:
        run = a_started_run(site)
        with held(site, run):
            site.instance.add_run_tags(run.run_id, {SILENT_TAG: in_seconds(-60)})
            deadline = time.monotonic() + 20
            while tags_of(site, run.run_id)[SILENT_TAG]:
                assert time.monotonic() < deadline
                time.sleep(0.05)


@pytest.mark.parametrize(("until", "is_dead"), [(-1.0, True), (60.0, False)])
def test_a_run_of_an_older_release_on_another_host_is_dead_once_its_heartbeat_stops(
    tmp_path: Path, until: float, is_dead: bool
) -> None:
    with a_site(tmp_path) as site:
        run = a_started_run(
            site, {PROCESS_TAG: ELSEWHERE, ALIVE_TAG: in_seconds(until)}
        )
        assert report_dead_runs(site.instance) == ([run.run_id] if is_dead else [])


@pytest.mark.parametrize(
    "end",
    [
        lambda instance, run: instance.report_run_canceling(run),
        lambda instance, run: instance.report_run_failed(run, "given up as lost"),
        lambda instance, run: instance.delete_run(run.run_id),
    ],
    ids=["cancelled by a person", "given up as lost", "deleted"],
)
def test_a_run_that_was_ended_elsewhere_is_interrupted(
    tmp_path: Path, end: Ending
) -> None:
    with a_site(tmp_path, automation={"lost_after_s": LOST_AFTER_S}) as site:
        run = a_started_run(site)
        with pytest.raises(KeyboardInterrupt):
            go_on_although_it_ends(site, run, end)


def test_a_run_that_is_repeated_is_not_taken_for_the_dead_one_whose_tags_it_has(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path) as site:
        first = a_started_run(site)
        with held(site, first):
            pass
        assert report_dead_runs(site.instance) == [first.run_id]
        second = a_started_run(site, repeats=first, status=STARTING)
        assert report_dead_runs(site.instance) == []
        with held(site, second):
            assert tags_of(site, second.run_id)[PROCESS_TAG] == this_process()
            assert report_dead_runs(site.instance) == []
        assert report_dead_runs(site.instance) == [second.run_id]


def test_a_run_of_an_older_release_is_dead_once_its_process_is_gone(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path) as site:
        first = a_started_run(site)
        site.instance.add_run_tags(
            first.run_id, {PROCESS_TAG: DEAD, CLAIMED_TAG: first.run_id}
        )
        assert report_dead_runs(site.instance) == [first.run_id]
        second = a_started_run(site, repeats=first, status=STARTING)
        assert report_dead_runs(site.instance) == []
        claim = {PROCESS_TAG: this_process(), CLAIMED_TAG: second.run_id}
        site.instance.add_run_tags(second.run_id, claim)
        assert report_dead_runs(site.instance) == []
        site.instance.add_run_tags(second.run_id, {PROCESS_TAG: DEAD})
        assert report_dead_runs(site.instance) == [second.run_id]


def test_a_dead_run_that_a_person_had_cancelled_is_reported_as_cancelled(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path) as site:
        run = a_started_run(site, {PROCESS_TAG: DEAD})
        site.instance.report_run_canceling(run)
        assert report_dead_runs(site.instance) == [run.run_id]
        assert status_of(site, run) is dg.DagsterRunStatus.CANCELED


@pytest.mark.parametrize("status", [STARTING, STARTED])
def test_a_run_that_never_held_its_lock_is_dead_once_the_server_that_was_to_start_it_is_gone(
    tmp_path: Path, status: dg.DagsterRunStatus
) -> None:
    path = tmp_path / "socket"
    with a_site(tmp_path / "site") as site, socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        run = a_started_run(site, a_launcher_tag(path), status)
        assert report_dead_runs(site.instance) == []
        server.close()
        # The socket is still a file, but nobody listens.
        assert report_dead_runs(site.instance) == [run.run_id]
        assert status_of(site, run) is FAILURE


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, STARTING])
def test_a_run_that_nobody_has_given_to_a_server_is_dead_after_a_while(
    tmp_path: Path, status: dg.DagsterRunStatus
) -> None:
    with a_site(tmp_path) as site:
        first = a_started_run(site, a_launcher_tag(tmp_path / "gone"), FAILURE)
        runs = [
            a_started_run(site, status=status),
            a_started_run(site, status=status, repeats=first),
        ]
        a_started_run(site)  # by some other way than a launcher
        assert report_dead_runs(site.instance) == []
        for run in runs:
            last_touched(site, run, ago=2 * HANDED_OVER_WITHIN)
        assert set(report_dead_runs(site.instance)) == {run.run_id for run in runs}
