"""Sensors: new batches are started once, and reports are rebuilt when a batch has changed."""

from collections.abc import Iterator

import dagster as dg

from aidsafe_dagster.automation.jobs import REQUESTS_PER_TICK, make_batch
from aidsafe_dagster.runs.dagster_internals import PARTITION_NAME_TAG
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
        for batch in _never_started(context.instance)[:REQUESTS_PER_TICK]:
            yield dg.RunRequest(run_key=batch, partition_key=batch)

    return sensor


def _never_started(instance: dg.DagsterInstance) -> list[str]:
    """Return the batches without any run, in the order of their names.

    Any run counts, however it ended: what was started by hand is a person's business, and killed
    runs are the recovery's.
    """
    assert batches.name is not None
    # One query for all batches: there may be thousands.
    started = dict(instance.get_run_tags([PARTITION_NAME_TAG]))
    new = {*instance.get_dynamic_partitions(batches.name)}
    return sorted(new - started.get(PARTITION_NAME_TAG, set()))


def reports() -> dg.AutomationConditionSensorDefinition:
    """Return the sensor that rebuilds the reports whenever a batch has been made."""
    return dg.AutomationConditionSensorDefinition(
        "reports",
        target=dg.AssetSelection.groups("reports"),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Keeps the reports up to date; asks nothing of a model",
    )
