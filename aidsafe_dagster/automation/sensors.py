"""Sensors: new batches are started once, and reports are rebuilt when a batch has changed."""

from collections.abc import Iterator

import dagster as dg

from aidsafe_dagster.automation.jobs import make_batch
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.stages.partitions import batches


def new_batches(settings: Settings) -> dg.SensorDefinition:
    """Return the sensor that starts each batch that no run was ever started for."""
    status = dg.DefaultSensorStatus.STOPPED
    if settings.automation.start_new_batches:
        status = dg.DefaultSensorStatus.RUNNING

    @dg.sensor(
        name="new_batches",
        job=make_batch,
        minimum_interval_seconds=30,
        default_status=status,
        description="Starts each new batch exactly once; leaves alone what was started by hand",
    )
    def sensor(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest]:
        assert batches.name is not None
        for batch in context.instance.get_dynamic_partitions(batches.name):
            # Any run counts, however it ended: what was started by hand is a person's business, and
            # killed runs are the recovery's.
            runs_of_batch = dg.RunsFilter(tags={"dagster/partition": batch})
            if not context.instance.get_run_records(runs_of_batch, limit=1):
                yield dg.RunRequest(run_key=batch, partition_key=batch)

    return sensor


def reports() -> dg.AutomationConditionSensorDefinition:
    """Return the sensor that rebuilds the reports whenever a batch has been made."""
    return dg.AutomationConditionSensorDefinition(
        "reports",
        target=dg.AssetSelection.groups("reports"),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Keeps the reports up to date; asks nothing of a model",
    )
