from pathlib import Path

import dagster as dg
from dagster._core.definitions.partitions.context import partition_loading_context

from aidsafe_dagster.automation.jobs import make_batch
from aidsafe_dagster.automation.schedules import nightly_ingest
from aidsafe_dagster.automation.sensors import new_batches
from aidsafe_dagster.settings.schema import AutomationSettings, Settings
from tests.site import Site, a_site, prompts_file, some_prompts


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
