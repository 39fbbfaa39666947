"""Gates: each stage's suites as blocking, partitioned asset checks, and the lock that no later run can slip past.

Dagster stops the downstream of a failed blocking check within the same run, but a later run of the downstream alone
would start all the same. So every stage asks `require_gate` first: each check of its upstream partition must have
passed, and for the very bytes that lie in the lake now. A person can say otherwise in the run's configuration
(`accept_failed_gate`), and then the materialization says so.
"""

import warnings
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import dagster as dg
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster_shared.utils.warnings import PreviewWarning
from pydantic import Field

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.quality.coverage import uncovered_policies
from aidsafe_dagster.quality.expectations import ExpectationOutcome, SuiteResult
from aidsafe_dagster.quality.suites import suites_for, validate
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.resources.tokens import token_counter
from aidsafe_dagster.stages.gate_verdicts import (
    HISTORY_LIMIT,
    YARDSTICKS,
    CheckResult,
    Gate,
    judge_check,
)
from aidsafe_dagster.sources.tables import INGESTED
from aidsafe_dagster.stages.partitions import batches

UPSTREAM: dict[Stage, tuple[Stage, ...]] = {
    Stage.PROMPTS: (),
    Stage.SINGLE_LLM_COTS: (Stage.PROMPTS,),
    Stage.SEED_COTS: (Stage.PROMPTS,),
    Stage.DELIBERATED_COTS: (Stage.SEED_COTS,),
    Stage.REFINED_COTS: (Stage.DELIBERATED_COTS,),
    Stage.COT_GRADES: (Stage.REFINED_COTS,),
    Stage.PREFERENCE_PAIRS: (Stage.REFINED_COTS, Stage.COT_GRADES),
    Stage.FINE_TUNE_SPLITS: (Stage.REFINED_COTS, Stage.COT_GRADES, Stage.PREFERENCE_PAIRS),
}
"""The stages whose gates must be open."""
BESIDE: dict[Stage, tuple[Stage, ...]] = {
    Stage.COT_GRADES: (Stage.SINGLE_LLM_COTS, Stage.DELIBERATED_COTS)
}
"""Stages that are read as well, where they were made."""
_GIVEN: dict[Stage, tuple[Stage, ...]] = {
    Stage.PREFERENCE_PAIRS: (Stage.COT_GRADES,),
    Stage.FINE_TUNE_SPLITS: (Stage.REFINED_COTS, Stage.PREFERENCE_PAIRS),
}
"""The stages whose every row has to be accounted for, where that is not all of `UPSTREAM`."""
_EVALUATED = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}
_CITING = (Stage.SEED_COTS, Stage.DELIBERATED_COTS, Stage.REFINED_COTS)


class GateConfig(dg.Config):
    accept_failed_gate: bool = Field(
        default=False,
        description="go on although a check upstream failed or is missing; the materialization will show it",
    )


def gate(instance: dg.DagsterInstance, lake: Lake, stage: Stage, batch: str) -> Gate:
    """The latest verdicts on a partition, as recorded in the instance."""
    keys = [dg.AssetCheckKey(dg.AssetKey(str(stage)), suite) for suite in suites_for(stage)]
    of_batch = PartitionKeyFilter(key=batch)
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(
        keys, partition_filter=of_batch
    )
    fingerprint = lake.fingerprint(stage, batch)
    verdicts = {}
    for key in keys:
        read_history = partial(_check_history, instance, key, of_batch)
        verdicts[key.name] = judge_check(_check_result(latest.get(key)), read_history, fingerprint)
    return Gate(stage, batch, verdicts)


def passed(instance: dg.DagsterInstance, lake: Lake, stage: Stage, batch: str) -> bool:
    """The stage was made for this batch, and every check of it passed."""
    return lake.has(stage, batch) and gate(instance, lake, stage, batch).open


def with_descendants(stages: Iterable[Stage]) -> tuple[Stage, ...]:
    """These stages and all that rest on them, in the order of the recipe."""
    found = set(stages)
    for stage in Stage:
        if found.intersection((*UPSTREAM[stage], *BESIDE.get(stage, ()))):
            found.add(stage)
    return tuple(stage for stage in Stage if stage in found)


def _check_result(record: Any) -> CheckResult | None:
    """Return the result that a record holds, None while the check is only planned."""
    if record is None or record.event is None or record.event.asset_check_evaluation is None:
        return None
    fingerprint = record.event.asset_check_evaluation.metadata.get("fingerprint")
    return CheckResult(
        has_passed=record.status is AssetCheckExecutionRecordStatus.SUCCEEDED,
        fingerprint=None if fingerprint is None else fingerprint.value,
        timestamp=record.event.timestamp,
    )


def _check_history(
    instance: dg.DagsterInstance, key: dg.AssetCheckKey, of_batch: PartitionKeyFilter
) -> Iterator[CheckResult]:
    records = instance.event_log_storage.get_asset_check_execution_history(
        key, limit=HISTORY_LIMIT, status=_EVALUATED, partition_filter=of_batch
    )
    for record in records:
        result = _check_result(record)
        if result is not None:
            yield result


def require_gate(
    context: dg.AssetExecutionContext, lake: Lake, stage: Stage, *, accept: bool
) -> dict[str, Any]:
    """Metadata for the materialization: empty, or what was overridden.

    Raises:
        dagster.Failure: a check of an upstream partition failed, is missing, or judged other data.
    """
    gates = [
        gate(context.instance, lake, upstream, context.partition_key)
        for upstream in UPSTREAM[stage]
    ]
    closed = "; ".join(str(g) for g in gates if not g.open)
    if not closed:
        return {}
    if not accept:
        raise dg.Failure(
            description=f"The gate before {stage} is closed: {closed}. Make the upstream partition again with its "
            "checks, or set accept_failed_gate in this run's configuration.",
            allow_retries=False,
        )
    context.log.warning(f"Gate overridden by this run's configuration: {closed}")
    return {"gate_overridden": closed}


def gate_checks(stage: Stage) -> list[dg.AssetChecksDefinition]:
    """A blocking check per suite of the stage, and the warning about policies that nobody cites."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", PreviewWarning
        )  # partitioned checks are a preview feature, tested here
        checks = [_blocking_check(stage, suite) for suite in suites_for(stage)]
        return [*checks, _breadth_check(stage)] if stage in _CITING else checks


def _blocking_check(stage: Stage, suite: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=dg.AssetKey(str(stage)),
        name=suite,
        blocking=stage not in YARDSTICKS,
        partitions_def=batches,
        description=f"Great Expectations suite '{suite}' on a batch of {stage}"
        + ("" if stage in YARDSTICKS else "; closes the gate to what follows"),
    )
    def check(
        context: dg.AssetCheckExecutionContext, lake: LakeResource, settings: SettingsResource
    ) -> dg.AssetCheckResult:
        loaded, opened, batch = settings.load(), lake.open(), context.partition_key
        fingerprint = opened.fingerprint(stage, batch)
        result = validate(
            stage=stage,
            suite=suite,
            frame=opened.rows(stage, batch),
            failures=opened.failures(stage, batch),
            expected_rows=expected_rows(opened, stage, batch),
            policies=loaded.load_policies(),
            settings=loaded.checks,
            counter=token_counter(loaded),
        )
        return dg.AssetCheckResult(
            passed=result.passed,
            severity=dg.AssetCheckSeverity.WARN
            if stage in YARDSTICKS
            else dg.AssetCheckSeverity.ERROR,
            description=_described(result),
            metadata={"fingerprint": fingerprint, "expectations": _expectation_table(result)},
        )

    return check


def _breadth_check(stage: Stage) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=dg.AssetKey(str(stage)),
        name="policy_breadth",
        partitions_def=batches,
        description="Warns of policies that no row of the batch cites",
    )
    def check(
        context: dg.AssetCheckExecutionContext, lake: LakeResource, settings: SettingsResource
    ) -> dg.AssetCheckResult:
        policies = settings.load().load_policies()
        silent = uncovered_policies(lake.open().rows(stage, context.partition_key), policies)
        return dg.AssetCheckResult(
            passed=not silent,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"No row cites: {', '.join(silent)}"
            if silent
            else "Every policy is cited by some row",
            metadata={"uncovered_policies": list(silent)},
        )

    return check


def expected_rows(lake: Lake, stage: Stage, batch: str) -> int | None:
    """Rows that have to be accounted for: those of the stage above, or as ingested; None where there is neither."""
    if stage is Stage.PROMPTS:
        return (
            lake.rows(INGESTED, batch, ["prompt_id"]).height if lake.has(INGESTED, batch) else None
        )
    counts = [
        lake.rows(upstream, batch, ["prompt_id"]).height
        for upstream in _GIVEN.get(stage, UPSTREAM[stage])
    ]
    return sum(counts) if counts else None


def _described(result: SuiteResult) -> str:
    missed = [e for e in result.expectations if not e.passed]
    closing = "; ".join(_missed(e) for e in missed if e.blocking)
    noted = "; ".join(_missed(e) for e in missed if not e.blocking)
    told = closing or f"{len(result.expectations) - len(missed)} expectations met"
    return f"{told}. Noted, not blocking: {noted}" if noted else told


def _missed(outcome: ExpectationOutcome) -> str:
    who = f" ({', '.join(outcome.detail)})" if outcome.detail else ""
    return f"{outcome.name}: expected {outcome.expected}, saw {outcome.observed}{who}"


def _expectation_table(result: SuiteResult) -> dg.TableMetadataValue:
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "expectation": e.name,
                    "passed": e.passed,
                    "blocking": e.blocking,
                    "observed": str(e.observed),
                    "expected": e.expected,
                    "offenders": ", ".join(e.detail),
                }
            )
            for e in result.expectations
        ]
    )
