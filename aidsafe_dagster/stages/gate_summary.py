"""A check per stage over all batches, so that the UI shows a closed gate whatever was made last.

Dagster shows the latest result of a partitioned check on an asset, so a batch that passes hides
those that did not, and their partitions stay green. This check has no partitions. The checks of a
batch bring it up to date as they end, and it can be run by itself.
"""

from collections.abc import Mapping, Sequence

import dagster as dg

from aidsafe_dagster.recipe.stages import stage_named
from aidsafe_dagster.runs.dagster_internals import AssetCheckExecutionRecordStatus

EVERY_BATCH = "every_batch"
_MOST_BATCHES = 20
_ClosedBatches = Mapping[str, Sequence[str]]
"""By batch, the checks that failed."""


def summary_check(stage: str) -> dg.AssetChecksDefinition:
    """Return the check of a stage over all batches."""

    @dg.asset_check(
        asset=dg.AssetKey(stage),
        name=EVERY_BATCH,
        description=f"Failed while the gate of any batch of {stage} is closed",
    )
    def check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        closed = _closed_batches(context.instance, stage)
        return dg.AssetCheckResult(
            passed=not closed,
            severity=dg.AssetCheckSeverity.WARN,
            description=_describe(closed),
        )

    return check


def report_summary(
    instance: dg.DagsterInstance, stage: str, batch: str, verdicts: Mapping[str, bool]
) -> None:
    """Bring the check over all batches up to date with verdicts that are about to be recorded.

    Args:
        instance: holds the recorded ones.
        stage: whose checks they are.
        batch: that they judge.
        verdicts: by check, whether it passed.
    """
    closed = {**_closed_batches(instance, stage)}
    failed = [name for name in closed.pop(batch, ()) if name not in verdicts]
    failed += [name for name, passed in verdicts.items() if not passed]
    if failed:
        closed[batch] = failed
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey(stage),
            check_name=EVERY_BATCH,
            passed=not closed,
            severity=dg.AssetCheckSeverity.WARN,
            description=_describe(closed),
            metadata={},
        )
    )


def _closed_batches(instance: dg.DagsterInstance, stage: str) -> _ClosedBatches:
    """Return the batches with checks whose latest result is a failure."""
    keys = []
    for suite in stage_named(stage).suites:
        keys.append(dg.AssetCheckKey(dg.AssetKey(stage), suite))
    # Batches that were taken back have results still.
    known = instance.get_dynamic_partitions("batches")
    closed: dict[str, list[str]] = {}
    for info in instance.event_log_storage.get_asset_check_partition_info(keys):
        is_failed = (
            info.latest_execution_status is AssetCheckExecutionRecordStatus.FAILED
        )
        if is_failed and info.partition_key in known:
            closed.setdefault(str(info.partition_key), []).append(info.check_key.name)
    return closed


def _describe(closed: _ClosedBatches) -> str:
    if not closed:
        return "the gate of every batch is open"
    lines = [f"gate CLOSED for {len(closed):,} of the batches:"]
    for batch in sorted(closed)[:_MOST_BATCHES]:
        lines.append(f"{batch}: {', '.join(closed[batch])} failed")
    hidden = len(closed) - _MOST_BATCHES
    if hidden > 0:
        lines.append(f"and {hidden:,} more: aidsafe status")
    return "\n".join(lines)
