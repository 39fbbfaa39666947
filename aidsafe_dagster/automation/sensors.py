"""Sensors: new batches are started, and reports rebuilt when a batch has changed."""

from collections.abc import Iterator

import dagster as dg

from aidsafe_dagster.automation.jobs import make_batch
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.stages.partitions import batches


def new_batches(settings: Settings) -> dg.SensorDefinition:
    """Starts each batch that no run was ever started for, once."""

    @dg.sensor(
        name="new_batches",
        job=make_batch,
        minimum_interval_seconds=30,
        default_status=_status_sensor(settings.automation.start_new_batches),
        description="Starts each new batch exactly once; a batch that was started by hand is left alone",
    )
    def sensor(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest]:
        assert batches.name is not None
        for key in context.instance.get_dynamic_partitions(batches.name):
            started = context.instance.get_run_records(
                dg.RunsFilter(tags={"dagster/partition": key}), limit=1
            )
            if not started:
                yield dg.RunRequest(run_key=key, partition_key=key)

    return sensor


def reports() -> dg.AutomationConditionSensorDefinition:
    """Builds the warehouse again whenever a batch was made."""
    return dg.AutomationConditionSensorDefinition(
        "reports",
        target=dg.AssetSelection.groups("reports"),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Keeps the reports up to date; asks nothing of a model",
    )


def _status_sensor(running: bool) -> dg.DefaultSensorStatus:
    return dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED
