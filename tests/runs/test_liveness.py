"""Runs that say they are alive, and what becomes of those that fall silent or are ended elsewhere."""

import json
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from aidsafe_dagster.runs.abandoned_runs import HANDED_OVER_WITHIN
from aidsafe_dagster.runs.liveness import (
    ALIVE_TAG,
    CLAIMED_TAG,
    PROCESS_TAG,
    claim_run,
    heartbeat,
    report_dead_runs,
    this_process,
)
from tests.site import Site, a_site, last_touched, prompts_file, some_prompts

ELSEWHERE = "another-host:1:0.00"
DEAD = f"{socket.gethostname()}:1:-1.00"
"""No process of this host has started before it was booted."""
FAILURE, STARTED = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.STARTED
STARTING = dg.DagsterRunStatus.STARTING
Ending = Callable[[dg.DagsterInstance, dg.DagsterRun], object]


def a_started_run(
    site: Site,
    tags: dict[str, str] | None = None,
    status: dg.DagsterRunStatus = STARTED,
    again: dg.DagsterRun | None = None,
) -> dg.DagsterRun:
    """A run; with the tags of the one that it repeats, as Dagster makes it."""
    from aidsafe_dagster.definitions import defs

    job, run_id = defs.resolve_job_def("make_batch"), again.run_id if again else None
    tags = (tags_of(site, again.run_id) if again else {}) | (tags or {})
    return site.instance.create_run_for_job(
        job, status=status, tags=tags, parent_run_id=run_id, root_run_id=run_id
    )


def status_of(site: Site, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    found = site.instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


def a_launcher_tag(path: Path) -> dict[str, str]:
    """What Dagster's launcher notes of the code server that it asks to start a run."""
    return {".dagster/grpc_info": json.dumps({"host": "localhost", "socket": str(path)})}


def in_seconds(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def tags_of(site: Site, run_id: str) -> dict[str, str]:
    run = site.instance.get_run_by_id(run_id)
    assert run is not None
    return dict(run.tags)


def go_on_although_it_ends(site: Site, run: dg.DagsterRun, end: Ending) -> None:
    with heartbeat(site.instance, run, lost_after_s=0.5):
        end(site.instance, run)
        time.sleep(30)


def test_every_run_of_every_job_is_claimed_and_says_that_it_is_alive(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        runs = [site.ingest(prompts_file(site.folder, some_prompts(3))), site.make("mine-0001")]
        for run in runs:
            tags = tags_of(site, run.run_id)
            assert tags[PROCESS_TAG] == this_process()
            assert datetime.fromisoformat(tags[ALIVE_TAG]) > datetime.now(UTC)


@pytest.mark.parametrize(("until", "is_dead"), [(-1.0, True), (60.0, False)])
def test_a_run_of_another_host_is_dead_once_it_was_silent_for_too_long(
    tmp_path: Path, until: float, is_dead: bool
) -> None:
    with a_site(tmp_path) as site:
        run = a_started_run(site, {PROCESS_TAG: ELSEWHERE, ALIVE_TAG: in_seconds(until)})
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
def test_a_run_that_was_ended_elsewhere_is_interrupted(tmp_path: Path, end: Ending) -> None:
    with a_site(tmp_path) as site:
        run = a_started_run(site)
        with pytest.raises(KeyboardInterrupt):
            go_on_although_it_ends(site, run, end)


def test_a_run_goes_on_saying_that_it_is_alive_while_it_lasts(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        run = a_started_run(site)
        with heartbeat(site.instance, run, lost_after_s=5.0):
            said: set[str] = set()
            while len(said) < 3:
                time.sleep(0.05)
                said.add(tags_of(site, run.run_id).get(ALIVE_TAG, ""))
                assert report_dead_runs(site.instance) == []


def test_a_run_that_is_started_again_is_not_taken_for_the_dead_one_whose_tags_it_has(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path) as site:
        first = a_started_run(site)
        site.instance.add_run_tags(first.run_id, {PROCESS_TAG: DEAD, CLAIMED_TAG: first.run_id})
        assert report_dead_runs(site.instance) == [first.run_id]
        second = a_started_run(site, again=first, status=STARTING)
        assert report_dead_runs(site.instance) == []
        claim_run(site.instance, second)
        assert tags_of(site, second.run_id)[PROCESS_TAG] == this_process()
        assert report_dead_runs(site.instance) == []
        site.instance.add_run_tags(second.run_id, {PROCESS_TAG: DEAD})
        assert report_dead_runs(site.instance) == [second.run_id]


def test_a_dead_run_that_a_person_had_cancelled_is_reported_as_cancelled(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        run = a_started_run(site, {PROCESS_TAG: DEAD})
        site.instance.report_run_canceling(run)
        assert report_dead_runs(site.instance) == [run.run_id]
        assert status_of(site, run) is dg.DagsterRunStatus.CANCELED


@pytest.mark.parametrize("status", [STARTING, STARTED])
def test_a_run_that_never_said_a_word_is_dead_once_the_server_that_was_to_start_it_is_gone(
    tmp_path: Path, status: dg.DagsterRunStatus
) -> None:
    path = tmp_path / "socket"
    with a_site(tmp_path / "site") as site, socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        run = a_started_run(site, a_launcher_tag(path), status)
        assert report_dead_runs(site.instance) == []
        server.close()
        assert report_dead_runs(site.instance) == [
            run.run_id
        ]  # its socket is still a file, but nobody listens
        assert status_of(site, run) is FAILURE


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, STARTING])
def test_a_run_that_nobody_has_given_to_a_server_is_dead_after_a_while(
    tmp_path: Path, status: dg.DagsterRunStatus
) -> None:
    with a_site(tmp_path) as site:
        first = a_started_run(site, a_launcher_tag(tmp_path / "gone"), FAILURE)
        runs = [a_started_run(site, status=status, again=again) for again in (None, first)]
        a_started_run(site)  # by some other way than a launcher
        assert report_dead_runs(site.instance) == []
        for run in runs:
            last_touched(site, run, ago=2 * HANDED_OVER_WITHIN)
        assert set(report_dead_runs(site.instance)) == {run.run_id for run in runs}
