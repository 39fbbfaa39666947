"""The recovery sensor reports dead runs and starts their batches again, but not failed runs."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.partitions.context import partition_loading_context

from aidsafe_dagster.automation.jobs import REQUESTS_PER_TICK
from aidsafe_dagster.automation.recovery import MAX_DEATHS, PAUSE, recovery
from aidsafe_dagster.cli.local_runs import run_job
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.runs.process_tags import PROCESS_TAG, this_process
from tests.site import Site, a_site, last_touched, prompts_file, some_prompts

BATCH = "mine-0001"


def tick(site: Site) -> list[dg.RunRequest]:
    from aidsafe_dagster.definitions import defs

    context = dg.build_sensor_context(instance=site.instance, definitions=defs)
    with partition_loading_context(dynamic_partitions_store=site.instance):
        return list(recovery.evaluate_tick(context).run_requests or ())


def a_started_run(site: Site, process: str, **tags: str) -> dg.DagsterRun:
    """A run of the batch that is tagged with `process`.

    Dagster itself will not retry it, unless `tags` say so.
    """
    from aidsafe_dagster.definitions import defs

    own = {"dagster/partition": BATCH, PROCESS_TAG: process, "dagster/max_retries": "0"}
    return site.instance.create_run_for_job(
        defs.resolve_job_def("make_batch"),
        status=dg.DagsterRunStatus.STARTED,
        tags=own | tags,
    )


def a_run_of_the_web_ui(
    site: Site, *stages: str, config: dict[str, Any] | None = None
) -> dg.DagsterRun:
    """A dead run as "Materialize" makes it: of a job without a name, for some assets."""
    from aidsafe_dagster.definitions import defs

    job = defs.resolve_implicit_global_asset_job_def()
    keys = frozenset(dg.AssetKey(str(stage)) for stage in stages)
    return site.instance.create_run_for_job(
        job.get_subset(asset_selection=keys),
        status=dg.DagsterRunStatus.STARTED,
        asset_selection=keys,
        run_config=config,
        tags={
            "dagster/partition": BATCH,
            PROCESS_TAG: a_dead_process(),
            "dagster/max_retries": "0",
        },
    )


def status_of(site: Site, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    current = site.instance.get_run_by_id(run.run_id)
    assert current is not None
    return current.status


def stages_of(request: dg.RunRequest) -> list[str]:
    return [key.to_user_string() for key in request.asset_selection or ()]


def a_dead_process() -> str:
    """The tag of a process of this machine that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    host, _, started = this_process().rsplit(":", 2)
    return f"{host}:{process.pid}:{started}"


def ingest_a_batch(site: Site) -> None:
    site.ingest(prompts_file(site.folder, some_prompts(3)))


def test_a_batch_whose_run_died_is_reported_and_started_again_once(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path) as site:
        ingest_a_batch(site)
        run = a_started_run(site, a_dead_process())
        (request,) = tick(site)
        assert request.partition_key == BATCH
        assert request.run_key == f"after-{run.run_id}"
        assert status_of(site, run) is dg.DagsterRunStatus.FAILURE
        (again,) = tick(site)
        assert again.run_key == request.run_key


def test_a_dead_run_that_dagster_retries_by_itself_is_reported_and_left_to_it(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path) as site:
        ingest_a_batch(site)
        run = a_started_run(site, a_dead_process(), **{"dagster/max_retries": "2"})
        assert tick(site) == []
        assert status_of(site, run) is dg.DagsterRunStatus.FAILURE


def test_a_run_whose_process_lives_is_left_alone(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        ingest_a_batch(site)
        run = a_started_run(site, this_process())
        assert tick(site) == []
        assert status_of(site, run) is dg.DagsterRunStatus.STARTED


def test_a_run_on_another_machine_is_left_alone(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        ingest_a_batch(site)
        a_started_run(site, "elsewhere:1:0.00")
        assert tick(site) == []


def test_a_batch_that_a_closed_gate_stopped_is_not_started_again(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path, rehearsal={"unparsable": 0.9}) as site:
        ingest_a_batch(site)
        assert not site.make(BATCH).success
        assert tick(site) == []


def test_a_batch_that_was_made_since_is_not_started_again(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        ingest_a_batch(site)
        a_started_run(site, a_dead_process())
        assert len(tick(site)) == 1
        site.make(BATCH)
        assert tick(site) == []


def test_after_the_fourth_death_in_a_row_a_batch_waits_a_while(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        ingest_a_batch(site)
        for _ in range(3):
            a_started_run(site, a_dead_process())
        assert len(tick(site)) == 1
        run = a_started_run(site, a_dead_process())
        assert tick(site) == []
        last_touched(site, run, ago=PAUSE)
        assert [request.run_key for request in tick(site)] == [f"after-{run.run_id}"]


def test_a_batch_that_keeps_dying_is_left_to_a_person(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        ingest_a_batch(site)
        for _ in range(MAX_DEATHS):
            a_started_run(site, a_dead_process())
        assert tick(site) == []


def test_a_run_of_the_web_ui_is_started_again_for_the_stages_it_was_asked_for(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path) as site:
        ingest_a_batch(site)
        run_job(site.instance, "make_batch", partition=BATCH, stages=[Stage.PROMPTS])
        run = a_run_of_the_web_ui(site, Stage.PROMPTS, Stage.SEED_COTS)
        (request,) = tick(site)
        assert (request.run_key, stages_of(request)) == (
            f"after-{run.run_id}",
            ["seed_cots"],
        )


def test_a_run_is_started_again_with_its_configuration(tmp_path: Path) -> None:
    accept = {"config": {"accept_failed_gate": True}}
    resources = {"settings": {"config": {"overrides": {"seed": 7}}}}
    with a_site(tmp_path) as site:
        ingest_a_batch(site)
        run_job(
            site.instance,
            "make_batch",
            partition=BATCH,
            stages=[Stage.PROMPTS, Stage.SINGLE_LLM_COTS],
            config={"resources": resources},
        )
        config = {
            "ops": {"single_llm_cots": accept, "seed_cots": accept},
            "resources": resources,
        }
        a_run_of_the_web_ui(site, Stage.SINGLE_LLM_COTS, Stage.SEED_COTS, config=config)
        (request,) = tick(site)
        assert request.run_config == {
            "ops": {"seed_cots": accept},
            "resources": resources,
        }
        again = run_job(
            site.instance,
            "make_batch",
            partition=BATCH,
            stages=[Stage.SEED_COTS],
            config=dict(request.run_config),
        )
        assert again.success, again.error


def test_a_batch_that_a_person_deleted_is_not_started_again_and_stops_no_other(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path, ingest={"batch_size": 2}) as site:
        site.ingest(prompts_file(site.folder, some_prompts(4)))
        for batch in ("mine-0001", "mine-0002"):
            a_started_run(site, a_dead_process(), **{"dagster/partition": batch})
        site.instance.delete_dynamic_partition("batches", "mine-0001")
        assert [request.partition_key for request in tick(site)] == ["mine-0002"]


def test_many_dead_runs_are_all_reported_and_a_few_batches_started_at_a_tick(
    tmp_path: Path,
) -> None:
    count = REQUESTS_PER_TICK + 2
    with a_site(tmp_path, ingest={"batch_size": 1}) as site:
        site.ingest(prompts_file(site.folder, some_prompts(count)))
        process = a_dead_process()
        runs = []
        for batch in site.batches:
            runs.append(a_started_run(site, process, **{"dagster/partition": batch}))
        first = tick(site)
        assert len(first) == REQUESTS_PER_TICK
        assert {status_of(site, run) for run in runs} == {dg.DagsterRunStatus.FAILURE}
        # As the daemon does with each request.
        for request in first:
            assert request.partition_key is not None
            a_started_run(
                site, this_process(), **{"dagster/partition": request.partition_key}
            )
        assert len(tick(site)) == count - REQUESTS_PER_TICK
