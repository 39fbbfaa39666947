"""Backfills in which runs died: once all their batches are made, they no longer read as failed.

Dagster says how a backfill ended as soon as its own runs are over. It counts each one that failed,
even if another run has made the batch since: Dagster's own retry, the recovery's, or a person's.
"""

from collections.abc import Sequence

import dagster as dg

from aidsafe_dagster.automation.jobs import make_batch
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.stages import STAGES, stages_in_use
from aidsafe_dagster.runs.dagster_internals import (
    BACKFILL_ID_TAG,
    PARTITION_NAME_TAG,
    AssetGraph,
    BulkActionsFilter,
    BulkActionStatus,
    PartitionBackfill,
)
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.stages.gates import is_complete

_RECENT_BACKFILLS = 20
"""Failed backfills that each tick looks at, so that its work does not grow with the history."""


def settle_backfills(
    instance: dg.DagsterInstance, asset_graph: AssetGraph
) -> list[str]:
    """Record failed backfills as successful if all is made by now, and return their ids.

    Each stage of each batch has to have passed its gate. Besides, the latest run of each batch must
    have succeeded: one that failed may have left rows as they were before.
    """
    settings = load_settings().settings
    lake = Lake(settings.lake)
    in_use = stages_in_use(settings)
    failed = BulkActionsFilter(statuses=[BulkActionStatus.COMPLETED_FAILED])
    settled = []
    for backfill in instance.get_backfills(failed, limit=_RECENT_BACKFILLS):
        if not _is_of_stages(backfill) or not _is_made_good(instance, backfill):
            continue
        targets = [
            (stage, batch)
            for stage, batch in _targets(backfill, asset_graph)
            if stage in in_use
        ]
        if all(is_complete(instance, lake, *target) for target in targets):
            instance.update_backfill(_as_success(instance, backfill, asset_graph))
            settled.append(backfill.backfill_id)
    return settled


def _is_of_stages(backfill: PartitionBackfill) -> bool:
    """Tell whether batches are all that the backfill was to make."""
    if not backfill.is_asset_backfill:
        return bool(backfill.job_name == make_batch.name)
    return all(key.to_user_string() in STAGES for key in backfill.asset_selection or ())


def _is_made_good(instance: dg.DagsterInstance, backfill: PartitionBackfill) -> bool:
    """Tell whether another run of its batch succeeded after each one that failed."""
    failed = dg.RunsFilter(
        tags={BACKFILL_ID_TAG: backfill.backfill_id},
        statuses=[dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED],
    )
    for run in instance.get_runs(failed):
        batch = run.tags.get(PARTITION_NAME_TAG, "")
        of_the_batch = dg.RunsFilter(tags={PARTITION_NAME_TAG: batch})
        (latest,) = instance.get_runs(of_the_batch, limit=1) or [run]
        if latest.status is not dg.DagsterRunStatus.SUCCESS:
            return False
    return True


def _targets(
    backfill: PartitionBackfill, asset_graph: AssetGraph
) -> Sequence[tuple[str, str]]:
    """Return stage and batch of all that a backfill was to make."""
    if not backfill.is_asset_backfill:
        names = backfill.partition_names or ()
        return [(str(stage), batch) for batch in names for stage in STAGES]
    data = backfill.get_asset_backfill_data(asset_graph)
    targets = []
    for key, partition in data.target_subset.iterate_asset_partitions():
        targets.append((key.to_user_string(), partition or ""))
    return targets


def _as_success(
    instance: dg.DagsterInstance, backfill: PartitionBackfill, asset_graph: AssetGraph
) -> PartitionBackfill:
    success = backfill._replace(status=BulkActionStatus.COMPLETED_SUCCESS)
    if not backfill.is_asset_backfill:
        return success
    # The page of such a backfill counts by asset, and takes what is materialized for not failed.
    data = backfill.get_asset_backfill_data(asset_graph)
    data = data._replace(materialized_subset=data.target_subset)
    return success.with_asset_backfill_data(data, instance, asset_graph)
