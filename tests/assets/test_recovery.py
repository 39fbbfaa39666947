"""The recovery sensor: what died is found, reported and started again; what failed by itself is left alone."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
from dagster._core.definitions.partitions.context import partition_loading_context

from aidsafe_dagster.assets.recovery import MAX_DEATHS, recovery
from aidsafe_dagster.processes import PROCESS_TAG, this_process
from tests.site import Site, a_site, prompts_file, some_prompts

BATCH = "mine-0001"


def tick(site: Site) -> list[dg.RunRequest]:
    from aidsafe_dagster.definitions import defs

    context = dg.build_sensor_context(instance=site.instance, definitions=defs)
    with partition_loading_context(dynamic_partitions_store=site.instance):
        return list(recovery.evaluate_tick(context).run_requests or ())


def a_started_run(site: Site, process: str, **tags: str) -> dg.DagsterRun:
    """A run of the batch that says it lives in `process`; Dagster itself will not retry it, unless `tags` say so."""
    from aidsafe_dagster.definitions import defs

    return site.instance.create_run_for_job(
        defs.resolve_job_def("make_batch"),
        status=dg.DagsterRunStatus.STARTED,
        tags={"dagster/partition": BATCH, PROCESS_TAG: process, "dagster/max_retries": "0"} | tags,
    )


def a_dead_process() -> str:
    """The tag of a process of this machine that is no more."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    host, _, started = this_process().rsplit(":", 2)
    return f"{host}:{process.pid}:{started}"


def filled(site: Site) -> None:
    site.ingest(prompts_file(site.folder, some_prompts(3)))


def test_a_batch_whose_run_died_is_reported_and_started_again_once(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        filled(site)
        run = a_started_run(site, a_dead_process())
        asked = tick(site)
        assert [(request.partition_key, request.run_key) for request in asked] == [(BATCH, f"after-{run.run_id}")]
        after = site.instance.get_run_by_id(run.run_id)
        assert after is not None
        assert after.status is dg.DagsterRunStatus.FAILURE
        assert [request.run_key for request in tick(site)] == [f"after-{run.run_id}"]


def test_a_dead_run_that_dagster_retries_by_itself_is_reported_and_left_to_it(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        filled(site)
        run = a_started_run(site, a_dead_process(), **{"dagster/max_retries": "2"})
        assert tick(site) == []
        after = site.instance.get_run_by_id(run.run_id)
        assert after is not None
        assert after.status is dg.DagsterRunStatus.FAILURE


def test_a_run_whose_process_lives_is_left_alone(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        filled(site)
        run = a_started_run(site, this_process())
        assert tick(site) == []
        after = site.instance.get_run_by_id(run.run_id)
        assert after is not None
        assert after.status is dg.DagsterRunStatus.STARTED


def test_a_run_on_another_machine_is_left_alone(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        filled(site)
        a_started_run(site, "elsewhere:1:0.00")
        assert tick(site) == []


def test_a_batch_that_a_closed_gate_stopped_is_not_started_again(tmp_path: Path) -> None:
    with a_site(tmp_path, rehearsal={"unparsable": 0.9}) as site:
        filled(site)
        assert not site.make(BATCH).success
        assert tick(site) == []


def test_a_batch_that_was_made_since_is_not_started_again(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        filled(site)
        a_started_run(site, a_dead_process())
        assert len(tick(site)) == 1
        site.make(BATCH)
        assert tick(site) == []


def test_a_batch_that_keeps_dying_is_left_to_a_person(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        filled(site)
        for _ in range(MAX_DEATHS):
            a_started_run(site, a_dead_process())
        assert tick(site) == []
