"""Runs that the command line starts: real Dagster runs on the real instance, in this process.

The web UI and the daemon are not needed, and they see everything afterwards. A run is tagged with
the process that drives it, so that the next command can tell a run that is going on from one whose
process was killed.
"""

import glob
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg

from aidsafe_dagster.cli.spending import Spending, spending_in
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.primitives import stop_signals
from aidsafe_dagster.primitives.collection import give_back_memory
from aidsafe_dagster.primitives.held_lock import LockLost
from aidsafe_dagster.recipe.errors import EngineUnusable, SetupError, StoreUnavailable
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.recipe.stages import STAGES, stages_in_use, with_descendants
from aidsafe_dagster.runs.batch_claims import HELD_TAG
from aidsafe_dagster.runs.dagster_internals import DagsterExecutionInterruptedError
from aidsafe_dagster.runs.liveness import release_run
from aidsafe_dagster.runs.process_tags import PROCESS_TAG, STOPPED_TAG, this_process
from aidsafe_dagster.settings.launchpad import configured_in_shell
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.settings.snapshot import SettingsSnapshot, take_snapshot
from aidsafe_dagster.stages.decontamination import (
    CHECKED_STAGES,
    checked_version,
    decontamination_version,
)
from aidsafe_dagster.stages.dpo_gate import are_splits_outdated
from aidsafe_dagster.stages.gates import is_complete, read_gate
from aidsafe_dagster.stages.one_recipe import (
    compare_stages,
    is_batch_finished,
    writes_text,
)

# Dagster's log of a run would bury what the command prints. The web UI has it all the same.
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def require_project() -> None:
    """Make sure that there is a Dagster instance, before anything is asked or written.

    Raises:
        SetupError: there is no project here.
    """
    if os.environ.get("DAGSTER_HOME") or Path("dagster.yaml").exists():
        return
    raise SetupError(
        f"no project: there is no dagster.yaml in {Path.cwd()}, and no aidsafe.toml in a "
        "folder above it. `aidsafe init DIR` makes a project; --project DIR or "
        "DAGSTER_HOME names one that is elsewhere"
    )


def open_instance() -> dg.DagsterInstance:
    """Open the Dagster instance of DAGSTER_HOME, or of the `dagster.yaml` in this folder.

    Raises:
        SetupError: there is neither, or it cannot be opened.
    """
    require_project()
    if not os.environ.get("DAGSTER_HOME"):
        # Dagster itself takes no folder without the variable.
        os.environ["DAGSTER_HOME"] = str(Path.cwd())
    home = os.environ["DAGSTER_HOME"]
    # Checked here, because Dagster takes such a path for a pattern and then runs on defaults.
    if glob.has_magic(home):
        raise SetupError(
            f"{home}: Dagster finds no dagster.yaml in a folder with *, ? or [ in its path"
        )
    try:
        return dg.DagsterInstance.get()
    except (dg.DagsterError, OSError) as error:
        raise SetupError(f"{_instance_in(home)}: {error}") from error
    # Each database's driver has errors of its own.
    except Exception as error:
        # The cause is the driver's error. What follows an empty line is background.
        why = str(error.__cause__ or error).strip().partition("\n\n")[0]
        raise SetupError(
            f"{_instance_in(home)}: its storage cannot be opened: {why}"
        ) from error


def _instance_in(home: str) -> str:
    """Return what an instance is called in an error, with what is wrong with its folder."""
    name = f"the Dagster instance of DAGSTER_HOME={home}"
    if os.access(home, os.W_OK):
        return name
    return (
        f"{name}, a folder that cannot be written (show, find, failures, versions and view "
        "read without it)"
    )


@dataclass(frozen=True)
class BatchRun:
    """What came of one run."""

    batch: str
    """The batch, or the name of the job where the job has no batches."""
    run_id: str
    success: bool
    error: str
    metadata: Mapping[str, Any]
    """Of the run's outputs, by name."""
    spending: Spending = Spending()
    """Of its finished steps."""
    withheld: str = ""
    """The checks that closed a gate past which the run went on without the rows behind it."""
    is_hopeless: bool = False
    """It was stopped by what would stop every other batch as well."""
    was_ended_elsewhere: bool = False
    """A person cancelled it, or another process took its batch."""


def run_job(
    instance: dg.DagsterInstance,
    job: str,
    *,
    partition: str | None = None,
    stages: Sequence[str] = (),
    config: dict[str, Any] | None = None,
    is_held: bool = False,
    on_event: Callable[[dg.EventLogEntry], None] | None = None,
) -> BatchRun:
    """Execute a job of the code location in this process, as a run of the instance.

    Args:
        instance: where the run is recorded.
        job: its name.
        partition: the batch, for a job that has batches.
        stages: make these alone; none: all of the job.
        config: of the run.
        is_held: this process holds the batch already (`runs/batch_claims.py`).
        on_event: is called with every event of the run, in its thread.

    Raises:
        KeyboardInterrupt: a signal asks the command to end. Dagster itself only ends the run.
    """
    # Importing the definitions reads the settings, so a mistake in them is raised here.
    from aidsafe_dagster.definitions import defs

    # Some code before may have swallowed the interrupt.
    if stop_signals.received():
        raise KeyboardInterrupt
    tags = {PROCESS_TAG: this_process()}
    # Otherwise the run would wait for a batch that its own process holds.
    if is_held:
        tags[HELD_TAG] = this_process()
    if partition is not None:
        tags["dagster/partition"] = partition
    run_id = str(uuid4())
    if on_event:
        instance.add_event_listener(run_id, on_event)
    with configured_in_shell():
        result = defs.resolve_job_def(job).execute_in_process(
            instance=instance,
            partition_key=partition,
            run_config=_QUIET | (config or {}),
            run_id=run_id,
            tags=tags,
            asset_selection=[dg.AssetKey(str(stage)) for stage in stages] or None,
            raise_on_error=False,
        )
    # Dagster has recorded the end of the run, so nobody can take a free lock for a death now.
    release_run(result.run_id)
    events = result.all_events
    was_interrupted = _was_interrupted(events)
    # Also where the signal came too late for the run, or some code swallowed the interrupt.
    if stop_signals.received():
        instance.add_run_tags(result.run_id, {STOPPED_TAG: result.run_id})
        raise KeyboardInterrupt
    error = _why_stopped(events)
    was_ended_elsewhere = was_interrupted or _was_lost(events)
    if was_ended_elsewhere:
        error = _why_ended(instance, result.run_id)
    outcome = BatchRun(
        batch=partition or job,
        run_id=result.run_id,
        success=result.success,
        error=error,
        metadata=_output_metadata(events),
        spending=spending_in(events),
        withheld="\n".join(_closing_checks(events, dg.AssetCheckSeverity.WARN)),
        is_hopeless=_is_hopeless(events),
        was_ended_elsewhere=was_ended_elsewhere,
    )
    # The result holds every event of the run, so it must go before memory is given back.
    del result, events
    give_back_memory()
    return outcome


def unfinished(
    instance: dg.DagsterInstance, lake: Lake, settings: Settings, batches: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Return the stages to make, for each batch that is not finished.

    These are the stages that are not done (`stages_not_done`), with all that rest on them. The
    other stages are not made again.
    """
    todo = {}
    for batch, not_done in stages_not_done(instance, lake, settings, batches).items():
        wanted = stages_in_use(settings)
        stages = tuple(one for one in with_descendants(not_done) if one in wanted)
        if stages:
            todo[batch] = stages
    return todo


def stages_not_done(
    instance: dg.DagsterInstance, lake: Lake, settings: Settings, batches: Sequence[str]
) -> dict[str, set[str]]:
    """Return, for each batch, the stages that have to be made for a reason of their own.

    They are missing, did not pass their gate, were made under another recipe, or were checked
    against other evaluation sets; or they are splits under other floors, or without pairs that have
    passed since. With `keep_recipe`, what models have written is not made again for its recipe.
    """
    snapshot = take_snapshot(settings)
    sets_version = decontamination_version(settings)
    not_done = {}
    for batch in batches:
        missing = not_complete(instance, lake, settings, batch)
        outdated = set(_of_another_recipe(lake, batch, snapshot, missing))
        for stage in CHECKED_STAGES:
            if stage in missing:
                continue
            if checked_version(lake, stage, batch) != sets_version:
                outdated.add(stage)
        if Stage.FINE_TUNE_SPLITS not in missing and are_splits_outdated(
            lake, partial(read_gate, instance, lake), batch, settings.score_gate
        ):
            outdated.add(Stage.FINE_TUNE_SPLITS)
        not_done[batch] = missing | outdated
    return not_done


def not_complete(
    instance: dg.DagsterInstance, lake: Lake, settings: Settings, batch: str
) -> set[str]:
    """Return the stages of a batch that are missing or did not pass their gate."""
    return {
        stage
        for stage in stages_in_use(settings)
        if not is_complete(instance, lake, stage, batch)
    }


def _of_another_recipe(
    lake: Lake, batch: str, snapshot: SettingsSnapshot, missing: set[str]
) -> Iterator[str]:
    """Yield the complete stages that are due to be made again for their recipe."""
    is_finished = is_batch_finished(missing)
    for comparison in compare_stages(lake, batch, snapshot, set(STAGES) - missing):
        is_kept = snapshot.settings.keep_recipe and writes_text(comparison.stage)
        if comparison.is_due(is_finished=is_finished) and not is_kept:
            yield comparison.stage


def _output_metadata(events: Sequence[dg.DagsterEvent]) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    for event in events:
        if event.is_successful_output:
            metadata.update(event.step_output_data.metadata)
    return metadata


def _why_stopped(events: Sequence[dg.DagsterEvent]) -> str:
    """Return what stopped a run: the checks that closed a gate, else the first step's error."""
    closed = _closing_checks(events, dg.AssetCheckSeverity.ERROR)
    # The checks first: Dagster's error for a closed gate does not say what was expected.
    if closed:
        return "\n".join(closed)
    for event in _failures(events):
        return failure_error(event)
    return ""


def _closing_checks(
    events: Sequence[dg.DagsterEvent], severity: dg.AssetCheckSeverity
) -> list[str]:
    """Return the checks that closed a gate: with ERROR the run stops, with WARN it goes on."""
    lines = []
    for event in events:
        if event.event_type_value != "ASSET_CHECK_EVALUATION":
            continue
        check = event.asset_check_evaluation_data
        if check.passed or not check.blocking or check.severity is not severity:
            continue
        name = f"{check.asset_key.to_user_string()} {check.check_name}"
        lines.append(f"{name}: {check.description}")
    return lines


def failure_error(event: dg.DagsterEvent) -> str:
    """Return why a step or a run failed, in the words of the set-up error where it is one."""
    if event.is_step_failure:
        told = event.step_failure_data.user_failure_data
        if told and told.description:
            return told.description
    message = _cause(event)
    for explained in _errors_for_people():
        explanation = message.partition(f"{explained.__name__}: ")[2].strip()
        if explanation:
            return explanation
    # Any other error keeps its class, by which its origin can be told.
    return message


def _errors_for_people() -> Iterator[type[Exception]]:
    """Yield the classes of error whose message stands without the name of its class."""
    classes: list[type[Exception]] = [SetupError, StoreUnavailable]
    while classes:
        error = classes.pop()
        yield error
        classes.extend(error.__subclasses__())


def _is_hopeless(events: Sequence[dg.DagsterEvent]) -> bool:
    for error in (EngineUnusable, StoreUnavailable):
        if any(f"{error.__name__}: " in message for message in _causes(events)):
            return True
    return False


def _was_interrupted(events: Sequence[dg.DagsterEvent]) -> bool:
    names = (DagsterExecutionInterruptedError.__name__, KeyboardInterrupt.__name__)
    for message in _causes(events):
        # The class comes first, with or without its module.
        error_class = message.partition(":")[0].rpartition(".")[2]
        if error_class.strip() in names:
            return True
    return False


def _was_lost(events: Sequence[dg.DagsterEvent]) -> bool:
    return any(f"{LockLost.__name__}: " in message for message in _causes(events))


def _why_ended(instance: dg.DagsterInstance, run_id: str) -> str:
    """Return who ended a run of this process, if it was no signal."""
    run = instance.get_run_by_id(run_id)
    is_cancelled = run is None or run.status is dg.DagsterRunStatus.CANCELED
    why = "was cancelled" if is_cancelled else "lost its batch to another process"
    return f"This run {why}. {stop_signals.WHAT_IS_SAFE}"


def _causes(events: Sequence[dg.DagsterEvent]) -> list[str]:
    """Return the error of each step that failed, or of the run, class first."""
    return [_cause(event) for event in _failures(events)]


def _failures(events: Sequence[dg.DagsterEvent]) -> list[dg.DagsterEvent]:
    """Return the steps that failed; the run itself, if it failed before any step began."""
    steps = [event for event in events if event.is_step_failure]
    return steps or [event for event in events if event.is_job_failure]


def _cause(event: dg.DagsterEvent) -> str:
    """Return the error of a step or a run that failed, with its class."""
    data = event.step_failure_data if event.is_step_failure else event.job_failure_data
    error = data.error
    if error is None:
        return ""
    # Dagster wraps the error of a step in one of its own; the cause is ours.
    return (error.cause or error).message.strip()
