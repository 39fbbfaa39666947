"""Recovery: batches whose run died are started again without a person.

Dagster alone does only part of this. A run whose machine lost power stays STARTED for ever and
keeps its concurrency slots. And Dagster does not retry a run whose backfill is over, or that it
has retried twice already.

A run is started again as it was: with the stages it was asked for, as far as they have not passed
their gate, and with its configuration. If policies, templates, models or settings have changed
since, the stages that were made under others are made again as well, unless `keep_recipe` is set. A
run that a closed gate stopped is left alone. A person has to look at it.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any

import dagster as dg

from aidsafe_dagster.automation.backfills import settle_backfills
from aidsafe_dagster.automation.jobs import REQUESTS_PER_TICK, make_batch
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.primitives.passed_time import has_passed
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.recipe.stages import behind, stages_in_use, with_descendants
from aidsafe_dagster.runs.dagster_internals import (
    AUTO_RETRY_RUN_ID_TAG,
    BACKFILL_ID_TAG,
    BULK_ACTION_TERMINAL_STATUSES,
    IMPLICIT_ASSET_JOB_NAME,
    PARENT_RUN_ID_TAG,
    PARTITION_NAME_TAG,
    RUN_FAILURE_REASON_TAG,
    WILL_RETRY_TAG,
)
from aidsafe_dagster.runs.liveness import report_dead_runs
from aidsafe_dagster.runs.process_tags import STOPPED_TAG
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.snapshot import SettingsSnapshot, take_snapshot
from aidsafe_dagster.stages.gates import is_complete
from aidsafe_dagster.stages.one_recipe import (
    RecipeChange,
    is_batch_finished,
    recipe_change,
)
from aidsafe_dagster.stages.partitions import batches
from aidsafe_dagster.stages.recipe_gate import OTHER_RECIPE_TAG

MAX_DEATHS = 9
"""A batch that killed this many runs in a row is left to a person."""
FREE_DEATHS = 3
"""Deaths in a row that are taken for bad luck: the batch starts again at once."""
PAUSE = timedelta(seconds=30)
"""The pause after the next death. Each further death doubles it."""
_JOBS = (make_batch.name, IMPLICIT_ASSET_JOB_NAME)
"""The second is what "Materialize" in the web UI starts."""
_RECENT_RUNS = 300
"""Failed runs that each tick looks at, so that its work does not grow with the history."""


@dg.sensor(
    name="recovery",
    job=make_batch,
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Reports runs whose process is gone as failed, "
    "and starts their batches again from the journal",
)
def recovery(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest]:
    """Start a batch again if its latest run was killed and Dagster will not retry it."""
    instance = context.instance
    for run_id in report_dead_runs(instance):
        context.log.info(f"run {run_id} was killed")
    # The next ticks request the rest.
    yield from islice(_requests(context), REQUESTS_PER_TICK)
    assert context.repository_def is not None
    for backfill_id in settle_backfills(instance, context.repository_def.asset_graph):
        context.log.info(
            f"backfill {backfill_id} counts as successful: all its batches are made"
        )


def _requests(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest]:
    instance = context.instance
    for batch in _batches_with_dead_runs(instance):
        runs = _latest_runs(instance, batch)
        deaths = _count_deaths(runs)
        if deaths == 0:
            continue
        latest = runs[0]
        # Two that start the same batch would only wait for each other.
        if _will_dagster_retry(instance, latest):
            continue
        if _is_pausing(instance, latest, deaths):
            continue
        stages, change = _unfinished_stages(instance, batch, latest)
        if not stages:
            continue
        if deaths < MAX_DEATHS:
            if change:
                context.log.warning(
                    f"batch {batch} goes on under another recipe. {change}. "
                    f"Made again: {', '.join(change.affected)}; {change.cost}"
                )
            yield _repeat(latest, batch, stages)
        else:
            context.log.warning(
                f"batch {batch}: its last {deaths} runs were killed; it is left to a person"
            )


def _unfinished_stages(
    instance: dg.DagsterInstance, batch: str, run: dg.DagsterRun
) -> tuple[list[str], RecipeChange | None]:
    """Return the stages to make: of those requested, what is not done and what rests on it.

    Stages of another recipe are made again too, if what was requested rests on them.
    """
    # Loaded at each tick, because the daemon goes on while the settings change.
    snapshot = _snapshot_of(run)
    lake = Lake(snapshot.settings.lake)
    in_use = stages_in_use(snapshot.settings)
    unfinished = {
        stage for stage in in_use if not is_complete(instance, lake, stage, batch)
    }
    requested = _requested_stages(run)
    change = _recipe_change(lake, batch, snapshot, unfinished) if unfinished else None
    if change:
        unfinished.update(change.stages)
        for stage in tuple(requested):
            requested.update(map(str, behind(stage)))
    stages = []
    for stage in with_descendants(unfinished):
        if stage in requested and stage in in_use:
            stages.append(str(stage))
    return stages, change


def _recipe_change(
    lake: Lake, batch: str, snapshot: SettingsSnapshot, unfinished: set[str]
) -> RecipeChange | None:
    if snapshot.settings.keep_recipe:
        return None
    is_finished = is_batch_finished(unfinished)
    try:
        return recipe_change(lake, batch, snapshot, is_finished=is_finished)
    except SetupError:
        # Broken policies, or a damaged file: the run itself says so where a person looks.
        return None


def _snapshot_of(run: dg.DagsterRun) -> SettingsSnapshot:
    """Return the settings that a run works with when it is started again."""
    config: Mapping[str, Any] = run.run_config
    resources = config.get("resources", {})
    overrides = resources.get("settings", {}).get("config", {}).get("overrides", {})
    vllm = resources.get("vllm", {}).get("config", {})
    if vllm:
        overrides = {**overrides, "vllm": {**overrides.get("vllm", {}), **vllm}}
    # Nothing is run or sent here, so what a run may not change is left to the run to refuse.
    return take_snapshot(load_settings(overrides=overrides).settings)


def _repeat(run: dg.DagsterRun, batch: str, stages: Sequence[str]) -> dg.RunRequest:
    """Request the run again with its configuration, but for what is done already."""
    original: dict[str, Any] = dict(run.run_config)
    original_ops = original.get("ops", {})
    # Dagster refuses configuration for a step that the run does not have.
    ops = {name: op for name, op in original_ops.items() if name in stages}
    config = {}
    if original.get("resources"):
        config["resources"] = original["resources"]
    if ops:
        config["ops"] = ops
    return dg.RunRequest(
        # One request per dead run: Dagster ignores a run key that it has seen before.
        run_key=f"after-{run.run_id}",
        partition_key=batch,
        asset_selection=[dg.AssetKey(stage) for stage in stages],
        run_config=config,
    )


def _requested_stages(run: dg.DagsterRun) -> set[str]:
    every_stage = set(map(str, Stage))
    # Without any selection the run makes the whole job.
    if not run.asset_selection and not run.asset_check_selection:
        return every_stage
    selected = set[str]()
    for key in run.asset_selection or ():
        selected.add(key.to_user_string())
    return every_stage & selected


def _batches_with_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Return the batches of recent dead runs that Dagster did not retry."""
    assert batches.name is not None
    # A person may have deleted a batch since its run died.
    existing = set(instance.get_dynamic_partitions(batches.name))
    failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE])
    dead_batches: list[str] = []
    for run in instance.get_runs(failed, limit=_RECENT_RUNS):
        batch = run.tags.get(PARTITION_NAME_TAG)
        if batch not in existing or batch in dead_batches:
            continue
        is_retried = AUTO_RETRY_RUN_ID_TAG in run.tags
        if _died(run) and not is_retried:
            dead_batches.append(batch)
    return dead_batches


def _latest_runs(instance: dg.DagsterInstance, batch: str) -> list[dg.DagsterRun]:
    """Return the runs of a batch that were to make stages of it, latest first."""
    of_the_batch = dg.RunsFilter(tags={PARTITION_NAME_TAG: batch})
    runs = instance.get_runs(of_the_batch, limit=2 * MAX_DEATHS)
    latest = []
    for run in runs:
        # Runs of checks alone, and of other jobs, say nothing about how a batch fares.
        if run.job_name in _JOBS and _requested_stages(run):
            latest.append(run)
    return latest


def _count_deaths(runs: Sequence[dg.DagsterRun]) -> int:
    """Return how many of the latest runs died in a row."""
    for count, run in enumerate(runs):
        if not _died(run):
            return count
    return len(runs)


def _died(run: dg.DagsterRun) -> bool:
    """Tell whether the run failed without any step having failed, and nobody stopped it.

    A retry that the recipe gate stopped counts as well: it only goes on with the failed steps, and
    the stages before them are due too.
    """
    if run.status is not dg.DagsterRunStatus.FAILURE:
        return False
    if run.tags.get(STOPPED_TAG) == run.run_id:
        return False
    is_of_other_recipe = run.tags.get(OTHER_RECIPE_TAG) == run.run_id
    if is_of_other_recipe and PARENT_RUN_ID_TAG in run.tags:
        return True
    return run.tags.get(RUN_FAILURE_REASON_TAG) != "STEP_FAILURE"


def _is_pausing(instance: dg.DagsterInstance, run: dg.DagsterRun, deaths: int) -> bool:
    """Tell whether a batch that keeps dying has yet to wait (exponential backoff)."""
    # At the limit the batch is not started again anyway, and a person hears of it at once.
    if deaths <= FREE_DEATHS or deaths >= MAX_DEATHS:
        return False
    record = instance.get_run_record_by_id(run.run_id)
    if record is None:
        return False
    pause = PAUSE * 2 ** (deaths - FREE_DEATHS - 1)
    return not has_passed(pause, since=record.update_timestamp)


def _will_dagster_retry(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    if run.tags.get(WILL_RETRY_TAG) != "true":
        return False
    # The tag outlives the backfill, and Dagster retries no run of a backfill that is over.
    if BACKFILL_ID_TAG not in run.tags:
        return True
    backfill = instance.get_backfill(run.tags[BACKFILL_ID_TAG])
    return backfill is not None and backfill.status not in BULK_ACTION_TERMINAL_STATUSES
