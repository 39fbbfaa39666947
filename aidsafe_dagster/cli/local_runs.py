"""Runs started from the command line: real Dagster runs on the real instance, one batch after another.

The web UI and the daemon are not needed, and they see everything afterwards. A run is marked with the process that
drives it, so that the next command can tell a run that is going on from one whose process was killed.
"""

import ctypes
import gc
import glob
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.stages import STAGES, load_templates, with_descendants
from aidsafe_dagster.recipe.templates import Templates
from aidsafe_dagster.runs.batch_claims import HELD_TAG
from aidsafe_dagster.runs.liveness import release_run
from aidsafe_dagster.runs.process_tags import PROCESS_TAG, this_process
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.stages.decontamination import (
    CHECKED_STAGES,
    checked_version,
    decontamination_version,
)
from aidsafe_dagster.stages.gates import is_complete

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def open_instance() -> dg.DagsterInstance:
    """The Dagster instance of DAGSTER_HOME, or of the `dagster.yaml` in this folder.

    Raises:
        SetupError: there is neither, or it cannot be opened.
    """
    if not os.environ.get("DAGSTER_HOME"):
        if not Path("dagster.yaml").exists():
            raise SetupError(
                "no Dagster instance: run this where dagster.yaml lies, or set DAGSTER_HOME"
            )
        os.environ["DAGSTER_HOME"] = str(Path.cwd())
    home = os.environ["DAGSTER_HOME"]
    if glob.has_magic(home):
        raise SetupError(
            f"{home}: Dagster finds no dagster.yaml in a folder with *, ? or [ in its path"
        )
    try:
        return dg.DagsterInstance.get()
    except (dg.DagsterError, OSError) as error:
        raise SetupError(f"DAGSTER_HOME={home}: {error}") from error
    except Exception as error:  # whatever a database's driver raises
        why = str(error.__cause__ or error).strip().partition("\n\n")[0]
        raise SetupError(f"DAGSTER_HOME={home}: its storage cannot be opened: {why}") from error


@dataclass(frozen=True)
class BatchRun:
    """What came of one batch's run."""

    batch: str
    run_id: str
    success: bool
    error: str
    shown: Mapping[str, Any]
    """Metadata of the outputs, by name."""


def run_job(
    instance: dg.DagsterInstance,
    job: str,
    *,
    partition: str | None = None,
    stages: Sequence[str] = (),
    config: dict[str, Any] | None = None,
    is_held: bool = False,
) -> BatchRun:
    """Executes a job of the code location, or some stages of it, in this process, as a run of the instance.

    With `is_held` this process holds the batch already (`batch_turns.py`).
    """
    from aidsafe_dagster.definitions import defs  # noqa: PLC0415 - reads the settings, so a mistake in them is raised here

    definition = defs.resolve_job_def(job)
    tags = {PROCESS_TAG: this_process()} | ({HELD_TAG: this_process()} if is_held else {})
    if partition is not None:
        tags["dagster/partition"] = partition
    result = definition.execute_in_process(
        instance=instance,
        partition_key=partition,
        run_config=_QUIET | (config or {}),
        tags=tags,
        asset_selection=[dg.AssetKey(str(stage)) for stage in stages] or None,
        raise_on_error=False,
    )
    release_run(result.run_id)
    outputs = [event.step_output_data for event in result.all_events if event.is_successful_output]
    shown = {name: value for output in outputs for name, value in output.metadata.items()}
    outcome = BatchRun(
        partition or job, result.run_id, result.success, _why(result.all_events), shown
    )
    del result, outputs
    _give_back_memory()
    return outcome


def unfinished(
    instance: dg.DagsterInstance, lake: Lake, settings: Settings, batches: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Per batch that is not finished, the stages to make.

    Those that are missing, that did not pass their gate, that older policies or templates made, or that were checked
    against other evaluation sets, and all that rest on them. The others are not made again.
    """
    policies, templates = settings.load_policies().version, load_templates(settings.prompts)
    sets = decontamination_version(settings)

    def is_done(stage: str, batch: str) -> bool:
        return is_complete(instance, lake, stage, batch) and _is_current(
            lake, stage, batch, policies, templates, sets
        )

    todo = {
        batch: with_descendants({s for s in STAGES if not is_done(s, batch)}) for batch in batches
    }
    return {batch: stages for batch, stages in todo.items() if stages}


def _is_current(
    lake: Lake, stage: str, batch: str, policies: str, templates: Templates, sets: str
) -> bool:
    if stage in CHECKED_STAGES:
        return checked_version(lake, stage, batch) == sets
    if STAGES[stage].dialogue is None:
        return True
    made_by = (
        lake.rows(stage, batch).select("policies_version", "templates_version").unique().rows()
    )
    return made_by in ([], [(policies, templates.version(stage))])


def _give_back_memory() -> None:
    """To the system: what a batch took would else lie in fragments, and more so with every batch of this process."""
    gc.collect()
    with suppress(OSError, AttributeError):  # where the C library is not glibc
        ctypes.CDLL(None).malloc_trim(0)


def _why(events: Sequence[dg.DagsterEvent]) -> str:
    """What stopped a run, in a person's words: the checks that closed a gate, else the first step's error."""
    closed = []
    for event in events:
        if event.event_type_value == "ASSET_CHECK_EVALUATION":
            seen = event.asset_check_evaluation_data
            if not seen.passed and seen.blocking and seen.severity is dg.AssetCheckSeverity.ERROR:
                closed.append(
                    f"{seen.asset_key.to_user_string()} {seen.check_name}: {seen.description}"
                )
    return "; ".join(closed) or next(
        (_error(event) for event in events if event.is_step_failure), ""
    )


def _error(event: dg.DagsterEvent) -> str:
    failed = event.step_failure_data
    if failed.user_failure_data and failed.user_failure_data.description:
        return failed.user_failure_data.description
    if failed.error is None:
        return ""
    cause = failed.error.cause or failed.error
    return cause.message.partition("SetupError: ")[2].strip() or cause.message.strip()
