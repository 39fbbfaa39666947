"""The partition gate in Dagster: no run gets past a failed, missing or outdated verdict.

Dagster stops what is downstream of a failed blocking check within the same run, but a later run of
the downstream alone would start all the same. So every stage asks `require_gate` first: each check
of each upstream partition must have passed, and on the very bytes that the lake holds now. A person
can decide otherwise in the run's configuration (`accept_failed_gate`); the materialization then
says so.

Where only some rows of a stage come from another one (`partial_upstream`), a closed gate there
keeps those rows out, and the run goes on: its checks warn, and what follows waits for their
verdict.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import dagster as dg
from pydantic import Field

from aidsafe_dagster.lake.half_forgotten import is_half_forgotten
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.stages import stage_named
from aidsafe_dagster.runs.dagster_internals import (
    AssetCheckExecutionRecordStatus,
    PartitionKeyFilter,
)
from aidsafe_dagster.stages.gate_verdicts import (
    HISTORY_LIMIT,
    CheckResult,
    Gate,
    judge_check,
)

_EVALUATED = {
    AssetCheckExecutionRecordStatus.SUCCEEDED,
    AssetCheckExecutionRecordStatus.FAILED,
}


class GateConfig(dg.Config):
    accept_failed_gate: bool = Field(
        default=False,
        description="go on although a check upstream failed or is missing; "
        "the materialization will show it",
    )


def read_gate(instance: dg.DagsterInstance, lake: Lake, stage: str, batch: str) -> Gate:
    """Return the latest verdicts on a partition, as recorded in the instance."""
    suites = stage_named(stage).suites
    keys = [dg.AssetCheckKey(dg.AssetKey(str(stage)), suite) for suite in suites]
    partition = PartitionKeyFilter(key=batch)
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(
        keys, partition_filter=partition
    )
    fingerprint = lake.fingerprint(stage, batch)
    verdicts = {}
    for key in keys:
        read_history = partial(_check_history, instance, key, partition)
        latest_result = _check_result(latest.get(key))
        verdicts[key.name] = judge_check(latest_result, read_history, fingerprint)
    return Gate(str(stage), batch, verdicts, is_half_forgotten(lake, batch))


def is_complete(
    instance: dg.DagsterInstance, lake: Lake, stage: str, batch: str
) -> bool:
    """True when the stage was made for this batch and its gate is open."""
    return lake.has(stage, batch) and read_gate(instance, lake, stage, batch).open


def require_gate(
    context: dg.AssetExecutionContext, lake: Lake, stage: str, *, accept: bool
) -> dict[str, Any]:
    """Stop the step unless every gate upstream is open.

    Returns:
        Metadata for the materialization: empty, or what was overridden.

    Raises:
        dagster.Failure: a check of an upstream partition failed, is missing, or judged other data.
    """
    closed_gates = []
    for upstream in stage_named(stage).upstream:
        gate = read_gate(context.instance, lake, upstream, context.partition_key)
        if not gate.open:
            closed_gates.append(str(gate))
    if not closed_gates:
        return {}
    closed = "; ".join(closed_gates)
    if not accept:
        raise dg.Failure(
            description=f"The gate before {stage} is closed: {closed}. "
            "Make the upstream partition again with its checks, "
            "or set accept_failed_gate in this run's configuration.",
            # Another attempt would read the same verdicts.
            allow_retries=False,
        )
    context.log.warning(f"Gate overridden by this run's configuration: {closed}")
    return {"gate_overridden": closed}


def _check_history(
    instance: dg.DagsterInstance, key: dg.AssetCheckKey, partition: PartitionKeyFilter
) -> Iterator[CheckResult]:
    records = instance.event_log_storage.get_asset_check_execution_history(
        key, limit=HISTORY_LIMIT, status=_EVALUATED, partition_filter=partition
    )
    for record in records:
        result = _check_result(record)
        if result is not None:
            yield result


def _check_result(record: Any) -> CheckResult | None:
    """Return the result that a record holds, None while the check is only planned."""
    if record is None or record.event is None:
        return None
    evaluation = record.event.asset_check_evaluation
    if evaluation is None:
        return None
    fingerprint = evaluation.metadata.get("fingerprint")
    return CheckResult(
        has_passed=record.status is AssetCheckExecutionRecordStatus.SUCCEEDED,
        # A result without a fingerprint judged unknown bytes, and counts as outdated.
        fingerprint=None if fingerprint is None else fingerprint.value,
        timestamp=record.event.timestamp,
    )
