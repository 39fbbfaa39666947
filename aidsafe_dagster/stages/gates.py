"""The partition gate in Dagster: no run gets past a failed, missing or outdated verdict.

Dagster stops what is downstream of a failed blocking check within the same run, but a later run of
the downstream alone would start all the same. So every stage asks `require_gate` first: each check
of each upstream partition must have passed, and on the very bytes that the lake holds now. A person
can decide otherwise in the run's configuration (`accept_failed_gate`); the materialization then
says so.
"""

from dataclasses import dataclass
from typing import Any, Literal

import dagster as dg
from pydantic import Field

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.stages import stage_named
from aidsafe_dagster.runs.dagster_internals import (
    AssetCheckExecutionRecordStatus,
    PartitionKeyFilter,
)

Verdict = Literal["passed", "failed", "missing", "outdated"]
_EVALUATED = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}
_HISTORY_LIMIT = 20
"""Evaluations of a check that are searched for a verdict on the present bytes."""


class GateConfig(dg.Config):
    accept_failed_gate: bool = Field(
        default=False,
        description="go on although a check upstream failed or is missing; "
        "the materialization will show it",
    )


@dataclass(frozen=True)
class Gate:
    """The verdicts of a stage's checks on one batch."""

    stage: str
    batch: str
    verdicts: dict[str, Verdict]
    """By suite."""

    @property
    def open(self) -> bool:
        if stage_named(self.stage).is_baseline:
            return not {"missing", "outdated"}.intersection(self.verdicts.values())
        return all(verdict == "passed" for verdict in self.verdicts.values())

    def __str__(self) -> str:
        closed = []
        for suite, verdict in self.verdicts.items():
            if verdict != "passed":
                closed.append(f"{suite} {verdict}")
        return f"{self.stage} {self.batch}: {', '.join(closed) or 'passed'}"


def read_gate(instance: dg.DagsterInstance, lake: Lake, stage: str, batch: str) -> Gate:
    """Return the latest verdicts on a partition, as recorded in the instance."""
    suites = stage_named(stage).suites
    keys = [dg.AssetCheckKey(dg.AssetKey(str(stage)), suite) for suite in suites]
    partition = PartitionKeyFilter(key=batch)
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(
        keys, partition_filter=partition
    )
    fingerprint = lake.fingerprint(stage, batch)
    verdicts: dict[str, Verdict] = {}
    for key in keys:
        verdict = _verdict(latest.get(key), fingerprint)
        if verdict in ("missing", "outdated"):
            # The latest record may be a planned one of another run; an earlier evaluation then
            # holds.
            verdict = _earlier_verdict(instance, key, partition, fingerprint) or verdict
        verdicts[key.name] = verdict
    return Gate(str(stage), batch, verdicts)


def is_complete(instance: dg.DagsterInstance, lake: Lake, stage: str, batch: str) -> bool:
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
            allow_retries=False,
        )
    context.log.warning(f"Gate overridden by this run's configuration: {closed}")
    return {"gate_overridden": closed}


def _verdict(record: Any, fingerprint: str) -> Verdict:
    if record is None or record.event is None or record.event.asset_check_evaluation is None:
        return "missing"
    judged = record.event.asset_check_evaluation.metadata.get("fingerprint")
    if judged is None or judged.value != fingerprint:
        return "outdated"
    return "passed" if record.status is AssetCheckExecutionRecordStatus.SUCCEEDED else "failed"


def _earlier_verdict(
    instance: dg.DagsterInstance,
    key: dg.AssetCheckKey,
    partition: PartitionKeyFilter,
    fingerprint: str,
) -> Verdict | None:
    """Return the latest evaluated verdict on these bytes, None if there is none."""
    history = instance.event_log_storage.get_asset_check_execution_history(
        key, limit=_HISTORY_LIMIT, status=_EVALUATED, partition_filter=partition
    )
    verdicts: dict[float, Verdict] = {}
    for record in history:
        verdict = _verdict(record, fingerprint)
        if record.event and verdict in ("passed", "failed"):
            verdicts[record.event.timestamp] = verdict
    return verdicts[max(verdicts)] if verdicts else None
