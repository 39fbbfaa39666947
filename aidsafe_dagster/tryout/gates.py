"""What the suites of the gates would say of the tried rows. Nothing is stopped by it."""

from collections.abc import Sequence

from aidsafe_dagster.lake.tables import to_frame
from aidsafe_dagster.quality.suites import validate
from aidsafe_dagster.recipe.records import Failure, Prompt, Record, Stage
from aidsafe_dagster.recipe.stages import STAGES, StageDefinition, all_upstream
from aidsafe_dagster.resources.tokens import token_counter
from aidsafe_dagster.settings.snapshot import SettingsSnapshot
from aidsafe_dagster.tryout.results import SuiteVerdict, TriedPrompt


def judge_gates(
    prompts: Sequence[TriedPrompt], snapshot: SettingsSnapshot
) -> tuple[SuiteVerdict, ...]:
    """Run every suite on the rows that a run would have had at that stage.

    Takes some seconds, since Great Expectations takes as long to import.
    """
    verdicts: list[SuiteVerdict] = []
    for definition in STAGES.values():
        if definition.name == Stage.PROMPTS or definition.dialogue is not None:
            verdicts.extend(_judge_stage(definition, prompts, snapshot))
    return tuple(verdicts)


def _judge_stage(
    definition: StageDefinition,
    prompts: Sequence[TriedPrompt],
    snapshot: SettingsSnapshot,
) -> list[SuiteVerdict]:
    rows, failures = _as_in_a_run(definition, prompts)
    if not rows and not failures:
        # No row came so far, so a run would never have begun this stage.
        return []
    frame = to_frame(rows, definition.record)
    results = validate(
        stage=definition.name,
        suites=definition.suites,
        frame=frame,
        failures=to_frame(failures, Failure),
        expected_rows=None,
        policies=snapshot.policies,
        settings=snapshot.settings.checks,
        counter=token_counter(snapshot.settings),
    )
    verdicts = []
    for suite, result in results.items():
        verdict = SuiteVerdict(
            stage=definition.name,
            suite=suite,
            passed=result.passed,
            closes=not definition.is_baseline,
            detail=result.summary,
            rows=frame.height,
        )
        verdicts.append(verdict)
    return verdicts


def _as_in_a_run(
    definition: StageDefinition, prompts: Sequence[TriedPrompt]
) -> tuple[list[Record], list[Failure]]:
    """Return the rows and failures of a stage, without those that a run would not have come to."""
    stage = definition.name
    rows: list[Record] = []
    failures: list[Failure] = []
    for tried in prompts:
        if any(upstream in tried.held_back for upstream in all_upstream(stage)):
            continue
        failure = tried.failures.get(stage) or tried.held_back.get(stage)
        row: Prompt | None = tried.rows.get(stage)
        if stage == Stage.PROMPTS:
            row = tried.prompt
        if failure is not None:
            failures.append(failure)
        elif row is not None:
            rows.append(row)
    return rows, failures
