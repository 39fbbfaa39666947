"""The checks of a stage: its suites as blocking, partitioned asset checks."""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import dagster as dg
import polars as pl

from aidsafe_dagster.lake.batch_recipes import read_recipes
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.split_inputs import read_split_inputs
from aidsafe_dagster.quality.coverage import (
    policy_coverage,
    rarely_applicable_policies,
)
from aidsafe_dagster.quality.expectations import SuiteResult
from aidsafe_dagster.quality.self_judging import (
    WRITING_STAGES,
    find_self_judging,
    self_judging_warning,
)
from aidsafe_dagster.quality.suites import check_refined_length, validate
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import FailureReason, RefinedCot, Stage
from aidsafe_dagster.recipe.row_gate import CheckSettings
from aidsafe_dagster.recipe.stages import (
    GRADES,
    INTEGRITY,
    StageDefinition,
    stage_named,
    stops_only_its_rows,
)
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.resources.tokens import token_counter
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.settings.snapshot import SettingsSnapshot
from aidsafe_dagster.sources.tables import INGESTED
from aidsafe_dagster.stages.failure_lines import failure_lines, plain_line
from aidsafe_dagster.stages.gate_summary import report_summary, summary_check
from aidsafe_dagster.stages.one_recipe import describe_mix
from aidsafe_dagster.stages.partitions import batches
from aidsafe_dagster.stages.row_links import row_links

_MOST_WARNING_CHARS = 500
logger = logging.getLogger(__name__)


def stage_checks(stage: str) -> list[dg.AssetChecksDefinition]:
    """Return the checks of a stage on a batch, and the check over all batches."""
    definition = stage_named(stage)
    return [_batch_checks(definition), summary_check(str(definition.name))]


def _batch_checks(definition: StageDefinition) -> dg.AssetChecksDefinition:
    """Return a check per suite and the warnings, as one step: they look at the same rows."""
    stage = str(definition.name)
    with warnings.catch_warnings():
        # Partitioned checks are a preview feature of Dagster; the tests of the gates cover them.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        specs = [_suite_spec(definition, suite) for suite in definition.suites]
        for name, (description, _) in _warnings_of(definition).items():
            spec = dg.AssetCheckSpec(
                name, asset=stage, description=description, partitions_def=batches
            )
            specs.append(spec)

    @dg.multi_asset_check(name=f"{stage}_checks", specs=specs, can_subset=True)
    def checks(
        context: dg.AssetCheckExecutionContext,
        lake: LakeResource,
        settings: SettingsResource,
    ) -> Iterator[dg.AssetCheckResult]:
        selected = {key.name for key in context.selected_asset_check_keys}
        partition = _Partition(
            lake.open(), definition, context.partition_key, settings.snapshot
        )
        suites = [suite for suite in definition.suites if suite in selected]
        if suites:
            results = partition.suite_results(suites)
            verdicts = {suite: result.passed for suite, result in results.items()}
            report_summary(context.instance, stage, partition.batch, verdicts)
            yield from results.values()
        for name, (_, check) in _warnings_of(definition).items():
            if name in selected:
                result = _warning(check, partition)
                yield result._replace(asset_key=dg.AssetKey(stage), check_name=name)

    return checks


def _suite_spec(definition: StageDefinition, suite: str) -> dg.AssetCheckSpec:
    # No row of the dataset rests on the baseline, so its checks warn and close nothing.
    blocking = not definition.is_baseline
    description = f"Great Expectations suite '{suite}' on a batch of {definition.name}"
    if stops_only_its_rows(definition.name):
        description += "; keeps these rows out of what follows"
    elif blocking:
        description += "; closes the gate to what follows"
    return dg.AssetCheckSpec(
        suite,
        asset=str(definition.name),
        blocking=blocking,
        partitions_def=batches,
        description=description,
    )


@dataclass(frozen=True)
class _Partition:
    """A batch of a stage, as it is when its checks begin."""

    lake: Lake
    definition: StageDefinition
    batch: str
    snapshot: SettingsSnapshot

    @cached_property
    def rows(self) -> pl.DataFrame:
        return self.lake.rows(self.definition.name, self.batch)

    def suite_results(self, suites: Sequence[str]) -> dict[str, dg.AssetCheckResult]:
        """Run suites, and return the result of each."""
        stage = str(self.definition.name)
        # Taken before the rows are read: the verdict must never hold for newer bytes than it saw.
        fingerprint = self.lake.fingerprint(stage, self.batch)
        failures = self.lake.failures(stage, self.batch)
        settings = self.snapshot.settings
        expected = expected_rows(self.lake, stage, self.batch)
        results = validate(
            stage=stage,
            suites=suites,
            frame=self.rows,
            failures=failures,
            expected_rows=expected,
            policies=_policies_judged_by(self.snapshot, stage),
            settings=_bounds(settings, expected, failures),
            counter=token_counter(settings),
        )
        links = row_links(settings, stage, self.batch, failed=failures.height)
        check_results = {}
        for suite, result in results.items():
            description = description_of(suite, result, failures, settings)
            check_results[suite] = dg.AssetCheckResult(
                passed=result.passed,
                asset_key=dg.AssetKey(stage),
                check_name=suite,
                severity=self._severity,
                description="\n".join((description, *self._notes(suite))),
                metadata={
                    # The gate compares it with the bytes in the lake (`gate_verdicts.py`).
                    "fingerprint": fingerprint,
                    "settings_hash": self.snapshot.hash,
                    "expectations": _expectation_table(result),
                    **links,
                },
            )
        return check_results

    @property
    def _severity(self) -> dg.AssetCheckSeverity:
        # Dagster skips what is behind a blocking check that fails with ERROR. With WARN, what
        # follows waits for the verdict, and then leaves these rows out (`partial_upstream`).
        if self.definition.is_baseline or stops_only_its_rows(self.definition.name):
            return dg.AssetCheckSeverity.WARN
        return dg.AssetCheckSeverity.ERROR

    def _notes(self, suite: str) -> list[str]:
        stage = str(self.definition.name)
        notes = [_note(self.lake, stage, suite, self.batch)]
        if suite == INTEGRITY:
            notes.append(_mix(self.lake, stage, self.batch))
        return [note for note in notes if note]


def _bounds(
    settings: Settings, expected: int | None, failures: pl.DataFrame
) -> CheckSettings:
    """Return the bounds of the gate; a stage may be empty if none of its rows is in the share."""
    not_drawn = failures.filter(reason=str(FailureReason.NOT_DRAWN)).height
    if settings.grading.share < 1 and expected == not_drawn:
        return settings.checks.model_copy(update={"min_rows": 0})
    return settings.checks


def _policies_judged_by(snapshot: SettingsSnapshot, stage: str) -> Policies:
    """Return the policies whose rules the thoughts of a stage cite."""
    second = snapshot.second_policies
    if stage == Stage.POLICY_COUNTERFACTUALS and second is not None:
        return second
    return snapshot.policies


def _note(lake: Lake, stage: str, suite: str, batch: str) -> str:
    """Return what a person should know besides what the suite saw; empty if nothing."""
    if suite == GRADES:
        return _self_judging(lake, batch)
    if stage == Stage.FINE_TUNE_SPLITS and suite == INTEGRITY:
        inputs = read_split_inputs(lake, batch)
        if inputs and inputs.closed_gate:
            return f"DPO rows kept out: {inputs.pairs or 0:,} ({inputs.closed_gate})"
    return ""


def _mix(lake: Lake, stage: str, batch: str) -> str:
    """Return on which stages of another recipe the rows rest; empty if on none."""
    recipe = read_recipes(lake, batch).get(stage)
    mix = describe_mix(recipe.mixed_with) if recipe else ""
    return plain_line(mix, _MOST_WARNING_CHARS)


def _self_judging(lake: Lake, batch: str) -> str:
    """Return the warning that a judge's model wrote what it graded; empty if none did."""
    grades = lake.rows(Stage.COT_GRADES, batch, ["prompt_id", "grades"])
    model = pl.col("grades").struct.field("model")
    graded = grades.explode("grades").select("prompt_id", model)
    writers = []
    for stage in WRITING_STAGES:
        if lake.has(stage, batch):
            writers.append(lake.rows(stage, batch, ["prompt_id", "model"]))
    return plain_line(
        self_judging_warning(find_self_judging(graded, writers)), _MOST_WARNING_CHARS
    )


_Warning = Callable[[pl.DataFrame, SettingsSnapshot], dg.AssetCheckResult]
"""Looks at the rows of a batch."""


def _warnings_of(definition: StageDefinition) -> dict[str, tuple[str, _Warning]]:
    """Return by name the checks that close nothing, each with its description."""
    by_name: dict[str, tuple[str, _Warning]] = {}
    if definition.reports_uncited_policies:
        by_name["policy_breadth"] = (
            "Warns of policies that no row of the batch cites, or that apply to almost none; "
            "closes nothing",
            _breadth,
        )
    if issubclass(definition.record, RefinedCot):
        by_name["refined_length"] = (
            "Warns where refinement made the CoTs of a batch longer on the whole; closes nothing",
            _refined_length,
        )
    return by_name


def _warning(check: _Warning, partition: _Partition) -> dg.AssetCheckResult:
    try:
        return check(partition.rows, partition.snapshot)
    except Exception as error:
        # Its step is that of the suites: if it failed, nothing behind the gate would be made.
        logger.exception("A check that only warns cannot be evaluated")
        reason = plain_line(f"{type(error).__name__}: {error}", _MOST_WARNING_CHARS)
        return dg.AssetCheckResult(
            passed=False,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"not evaluated: {reason}",
        )


def _refined_length(
    rows: pl.DataFrame, snapshot: SettingsSnapshot
) -> dg.AssetCheckResult:
    result = check_refined_length(rows, snapshot.settings.checks)
    return dg.AssetCheckResult(
        passed=result.passed,
        severity=dg.AssetCheckSeverity.WARN,
        description=result.summary,
        metadata={"expectations": _expectation_table(result)},
    )


def _breadth(rows: pl.DataFrame, snapshot: SettingsSnapshot) -> dg.AssetCheckResult:
    table = policy_coverage(rows, snapshot.policies)
    uncited = table.filter(pl.col("citing_rows") == 0)["policy"].to_list()
    min_share = snapshot.settings.checks.min_policy_share
    rare = rarely_applicable_policies(table, rows.height, min_share)
    problems = []
    if uncited:
        problems.append(f"No row cites: {', '.join(uncited)}")
    if rare:
        problems.append(
            f"Applied to fewer than {min_share:.1%} of {rows.height:,} rows: {', '.join(rare)}"
        )
    metadata: dict[str, Any] = {
        "uncovered_policies": uncited,
        "rarely_applicable_policies": list(rare),
        "policies": dg.MetadataValue.table(_policy_shares(table, rows.height)),
    }
    return dg.AssetCheckResult(
        passed=not problems,
        severity=dg.AssetCheckSeverity.WARN,
        description=". ".join(problems) or "Every policy is cited by some row",
        metadata=metadata,
    )


def _policy_shares(table: pl.DataFrame, rows: int) -> list[dg.TableRecord]:
    """Return a line per policy: the shares of the rows that it applied to and that cite it."""
    lines = []
    for line in table.iter_rows(named=True):
        record: dict[str, str | int] = {"policy": line["policy"]}
        for name in ("applicable", "citing"):
            count = line[f"{name}_rows"]
            record[f"{name}_rows"] = count
            record[f"{name}_share"] = f"{count / rows:.1%}" if rows else "–"
        lines.append(dg.TableRecord(record))
    return lines


def expected_rows(lake: Lake, stage: str, batch: str) -> int | None:
    """Count the rows that must come out as rows or failures; None where that is not known."""
    inputs = stage_named(stage).accounted_inputs
    if stage == Stage.PROMPTS:
        # A batch that was registered by hand was never sealed, and then nothing is known.
        inputs = (INGESTED,) if lake.has(INGESTED, batch) else ()
    if not inputs:
        return None
    count = 0
    for table in inputs:
        count += lake.rows(table, batch, ["prompt_id"]).height
    if stage == Stage.FINE_TUNE_SPLITS:
        count += _pairs_read(lake, batch)
    return count


def _pairs_read(lake: Lake, batch: str) -> int:
    """Count the pairs that the splits were made from.

    Pairs that were made later have not come out of these splits, and are not missing from them.
    """
    inputs = read_split_inputs(lake, batch)
    if inputs is not None:
        return inputs.pairs or 0
    if not lake.has(Stage.PREFERENCE_PAIRS, batch):
        return 0
    return lake.rows(Stage.PREFERENCE_PAIRS, batch, ["prompt_id"]).height


def description_of(
    suite: str, result: SuiteResult, failures: pl.DataFrame, settings: Settings
) -> str:
    """Return what a suite saw; where rows failed, with the first of them, a line each."""
    summary = result.summary
    # One suite tells of the failures. The others would only repeat it.
    if result.passed or suite != INTEGRITY:
        return summary
    lines = failure_lines(failures, settings)
    if not lines:
        return summary
    return "\n".join((summary, "first failures:", *(f"  {line}" for line in lines)))


def _expectation_table(result: SuiteResult) -> dg.TableMetadataValue:
    columns = {
        "expectation": "string",
        "passed": "bool",
        "blocking": "bool",
        "observed": "string",
        "expected": "string",
        "offenders": "string",
    }
    records = []
    for outcome in result.expectations:
        record: dict[str, str | bool] = {
            "expectation": outcome.name,
            "passed": outcome.passed,
            "blocking": outcome.blocking,
            "observed": str(outcome.observed),
            "expected": outcome.expected,
            "offenders": ", ".join(outcome.detail),
        }
        records.append(dg.TableRecord(record))
    # Dagster takes the columns from the first record, and there may be none.
    schema = dg.TableSchema([dg.TableColumn(*column) for column in columns.items()])
    return dg.MetadataValue.table(records, schema)
