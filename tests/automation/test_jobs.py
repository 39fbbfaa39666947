from pathlib import Path

import dagster as dg
import yaml
from dagster._core.definitions.partitions.context import partition_loading_context

from aidsafe_dagster.automation.jobs import REQUESTS_PER_TICK, make_batch
from aidsafe_dagster.automation.schedules import nightly_ingest
from aidsafe_dagster.automation.sensors import new_batches
from aidsafe_dagster.settings.schema import AutomationSettings, Settings
from tests.site import ROOT, Site, a_site, prompts_file, some_prompts


def tick(site: Site) -> list[dg.RunRequest]:
    from aidsafe_dagster.definitions import defs

    context = dg.build_sensor_context(instance=site.instance, definitions=defs)
    with partition_loading_context(dynamic_partitions_store=site.instance):
        data = new_batches(site.settings).evaluate_tick(context)
    return list(data.run_requests or ())


def test_the_sensor_asks_for_each_new_batch_with_one_key_for_ever(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path, ingest={"batch_size": 2}) as site:
        assert tick(site) == []
        site.ingest(prompts_file(tmp_path, some_prompts(4)))
        requests = [(request.partition_key, request.run_key) for request in tick(site)]
        assert requests == [("mine-0001", "mine-0001"), ("mine-0002", "mine-0002")]


def test_a_batch_that_was_started_by_hand_is_left_alone(tmp_path: Path) -> None:
    with a_site(tmp_path, ingest={"batch_size": 2}) as site:
        site.ingest(prompts_file(tmp_path, some_prompts(4)))
        site.make("mine-0001")
        assert [request.partition_key for request in tick(site)] == ["mine-0002"]


def test_many_new_batches_are_started_a_few_at_a_tick_and_none_is_forgotten(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path) as site:
        names = [f"mine-{number:04}" for number in range(70)]
        site.instance.add_dynamic_partitions("batches", names)
        requested = list[str | None]()
        while requests := tick(site):
            assert len(requests) <= REQUESTS_PER_TICK
            for request in requests:
                requested.append(request.partition_key)
                start(site, request)
        assert requested == names


def start(site: Site, request: dg.RunRequest) -> None:
    from aidsafe_dagster.definitions import defs

    assert request.partition_key is not None
    site.instance.create_run_for_job(
        defs.resolve_job_def("make_batch"),
        tags={"dagster/partition": request.partition_key},
    )


def test_the_sensors_of_the_shipped_instances_do_not_wait_for_each_other() -> None:
    for file in (ROOT / "dagster.yaml", ROOT / "deploy" / "hosts" / "dagster.yaml"):
        instance = yaml.safe_load(file.read_text())
        assert instance["sensors"]["use_threads"] is True
        assert instance["sensors"]["num_workers"] >= 3  # there are three
        assert instance["schedules"]["use_threads"] is True


def test_nothing_starts_by_itself_unless_the_settings_say_so() -> None:
    quiet, lively = (
        Settings(),
        Settings(
            automation=AutomationSettings(nightly_ingest=True, start_new_batches=True)
        ),
    )
    assert new_batches(quiet).default_status is dg.DefaultSensorStatus.STOPPED
    assert new_batches(lively).default_status is dg.DefaultSensorStatus.RUNNING
    assert nightly_ingest(quiet).default_status is dg.DefaultScheduleStatus.STOPPED
    assert nightly_ingest(lively).default_status is dg.DefaultScheduleStatus.RUNNING


def test_the_nightly_schedule_ingests() -> None:
    assert nightly_ingest(Settings()).job_name == "ingest_sources"
    assert new_batches(Settings()).job_name == make_batch.name
