"""Recovery: batches whose run died are taken up again without a person.

Dagster alone does not do all of it. A run whose machine lost power stays STARTED for ever and keeps
its slots; and Dagster does not try a run again whose backfill is over, or that it has tried twice.
A run is started again as it was: with the stages that it was asked for, as far as they did not pass
their gate, and with its configuration. A run that a closed gate stopped is left alone: a person has
to look at it.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any

import dagster as dg
from dagster._core.definitions.assets.job.asset_job import IMPLICIT_ASSET_JOB_NAME
from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES
from dagster._core.storage.tags import (
    AUTO_RETRY_RUN_ID_TAG,
    BACKFILL_ID_TAG,
    PARTITION_NAME_TAG,
    RUN_FAILURE_REASON_TAG,
    WILL_RETRY_TAG,
)

from aidsafe_dagster.automation.jobs import make_batch
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.recipe.stages import STAGES, with_descendants
from aidsafe_dagster.runs.liveness import report_dead_runs
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.stages.gates import is_complete
from aidsafe_dagster.stages.partitions import batches

MAX_DEATHS = 9
"""A batch that killed so many runs in a row is left to a person."""
PAUSE = timedelta(seconds=30)
"""After the fourth death in a row; doubled by each further one. The first three are bad luck."""
_JOBS = (make_batch.name, IMPLICIT_ASSET_JOB_NAME)
"""The second is what the web UI starts by "Materialize"."""
_RECENT = 300


@dg.sensor(
    name="recovery",
    job=make_batch,
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Reports runs whose process is gone as failed, and starts their batches again from the journal",
)
def recovery(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest]:
    """Starts a batch again when its latest run was killed and Dagster will not retry it by
    itself.
    """
    for run_id in report_dead_runs(context.instance):
        context.log.info(f"run {run_id} was killed")
    for batch, runs in _by_batch(context.instance).items():
        deaths, latest = len(list(takewhile(_died, runs))), runs[0]
        if (
            not deaths
            or _dagster_retries(context.instance, latest)
            or _pauses(context.instance, latest, deaths)
        ):
            continue
        if left := _left(context.instance, batch, latest):
            if deaths < MAX_DEATHS:
                yield _again(latest, batch, left)
            else:
                context.log.warning(
                    f"batch {batch}: its last {deaths} runs were killed; it is left to a person"
                )


def _left(instance: dg.DagsterInstance, batch: str, run: dg.DagsterRun) -> list[str]:
    """What the dead run was asked to make: the stages not brought through their gate, and all
    that rest on them.
    """
    lake = Lake(load_settings().settings.lake)
    stages = with_descendants({s for s in STAGES if not is_complete(instance, lake, s, batch)})
    return [str(stage) for stage in stages if stage in _asked(run)]


def _again(run: dg.DagsterRun, batch: str, stages: Sequence[str]) -> dg.RunRequest:
    """The same again, but for what is done."""
    given: dict[str, Any] = dict(run.run_config)
    config = {"resources": given.get("resources", {})}
    config["ops"] = {name: own for name, own in given.get("ops", {}).items() if name in stages}
    return dg.RunRequest(
        run_key=f"after-{run.run_id}",
        partition_key=batch,
        asset_selection=[dg.AssetKey(stage) for stage in stages],
        run_config={key: own for key, own in config.items() if own},
    )


def _asked(run: dg.DagsterRun) -> set[str]:
    """The stages that a run was to make."""
    every = {str(stage) for stage in Stage}
    if not run.asset_selection and not run.asset_check_selection:  # the whole job
        return every
    return every & {key.to_user_string() for key in run.asset_selection or ()}


def _by_batch(instance: dg.DagsterInstance) -> dict[str, list[dg.DagsterRun]]:
    """By batch of which a run died lately, and was not tried again by Dagster: its latest runs,
    latest first.
    """
    failed = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]), limit=_RECENT)
    died = [run for run in failed if _died(run) and AUTO_RETRY_RUN_ID_TAG not in run.tags]
    assert batches.name is not None
    known = set(
        instance.get_dynamic_partitions(batches.name)
    )  # a person may have deleted one since
    wanted = [
        batch
        for batch in dict.fromkeys(run.tags.get(PARTITION_NAME_TAG) for run in died)
        if batch in known
    ]
    found = {batch: _runs_of(instance, batch) for batch in wanted if batch is not None}
    return {batch: runs for batch, runs in found.items() if runs}


def _runs_of(instance: dg.DagsterInstance, batch: str) -> list[dg.DagsterRun]:
    runs = instance.get_runs(dg.RunsFilter(tags={PARTITION_NAME_TAG: batch}), limit=2 * MAX_DEATHS)
    return [run for run in runs if run.job_name in _JOBS and _asked(run)]


def _died(run: dg.DagsterRun) -> bool:
    """Failed, and not because a step said so."""
    return (
        run.status is dg.DagsterRunStatus.FAILURE
        and run.tags.get(RUN_FAILURE_REASON_TAG) != "STEP_FAILURE"
    )


def _pauses(instance: dg.DagsterInstance, run: dg.DagsterRun, deaths: int) -> bool:
    record = instance.get_run_record_by_id(run.run_id)
    if record is None or deaths < 4 or deaths >= MAX_DEATHS:
        return False
    return datetime.now(UTC) - record.update_timestamp < PAUSE * (1 << deaths - 4)


def _dagster_retries(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    if run.tags.get(WILL_RETRY_TAG) != "true":
        return False
    if BACKFILL_ID_TAG not in run.tags:
        return True
    backfill = instance.get_backfill(run.tags[BACKFILL_ID_TAG])
    return backfill is not None and backfill.status not in BULK_ACTION_TERMINAL_STATUSES
