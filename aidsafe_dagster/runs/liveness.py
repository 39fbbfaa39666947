"""Which runs are alive: a run holds a lock of its own from its first step until it is over.

On its own host the lock decides alone. If it is free, the run's process is gone.

Among hosts a free lock is not proof yet: the database may have been restarted, or the network cut.
So whoever finds the lock of another host's run free notes the time in a tag of the run, and a
living run wipes that note out at its next heartbeat. A note that still stands after
`automation.lost_after_s` means that the run is dead, and its batch is taken up elsewhere.

A run that has not taken its lock yet is judged by its process (`process_tags.py`), or by the
server that was to start it (`abandoned_runs.py`).
"""

import atexit
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from aidsafe_dagster.primitives.passed_time import has_passed, lies_ahead
from aidsafe_dagster.primitives.watchdog import watchdog
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.runs.abandoned_runs import is_abandoned
from aidsafe_dagster.runs.locks import run_lock, run_lock_file
from aidsafe_dagster.runs.process_tags import (
    CLAIMED_TAG,
    PROCESS_TAG,
    is_on_this_host,
    is_process_dead,
    process_of,
    this_process,
)
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.schema import Settings

logger = logging.getLogger(__name__)
LOCK_TAG = "aidsafe/run_lock"
"""The locked file of the run."""
SILENT_TAG = "aidsafe/silent_since"
"""When another host first found the lock free; empty while the run answers."""
HEARTBEAT_S = 10.0
"""How often a run answers such notes, and checks whether it must stop."""
# Not QUEUED: such a run has no process yet, and the daemon looks after its queue.
_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_CANCELLED = (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED)
CANCELLED = (
    "The run was cancelled. Answers are recorded; "
    "materialize the batch again to go on from there."
)
_noted = set[str]()
"""The cancelled runs whose log says so already: a run may open its resources more than once."""
_held: dict[str, ExitStack] = {}
"""The locks that this process holds, by run."""


@contextmanager
def hold_run(
    instance: dg.DagsterInstance, run: dg.DagsterRun, settings: Settings
) -> Iterator[None]:
    """Hold the run's lock, and interrupt the run while the block lasts if it is ended elsewhere.

    A run is ended elsewhere by a person, or because it was silent for too long. Interrupting it
    makes sure that no two processes go on with one batch.

    The lock outlasts the block, until `release_run` or the end of the process. Dagster records how
    a run ended only after its resources are closed, and until then the run counts as alive.
    """
    run_id = run.run_id
    claim = _claim(run_id, settings)
    # Several heartbeats may be missed before the others take the run for dead.
    heartbeat_s = min(HEARTBEAT_S, settings.automation.lost_after_s / 5)
    # The resources of a run may be opened more than once in a process.
    if run_id not in _held:
        lock = run_lock(run_id, settings)
        holder = describe_this_run(run)
        # `pop_all` keeps the lock beyond this block, and an error before it lets go.
        with ExitStack() as stack:
            stack.enter_context(lock.hold(holder, logger.info))
            _held[run_id] = stack.pop_all()
    # Only with the lock in hand: tags without a lock would make this run look dead.
    instance.add_run_tags(run_id, claim)
    try:
        with watchdog(lambda: _heartbeat(instance, run_id, claim), heartbeat_s):
            yield
    finally:
        _note_cancellation(instance, run_id)


def _note_cancellation(instance: dg.DagsterInstance, run_id: str) -> None:
    """Say in the log of a run that was cancelled what is safe and how to go on.

    Dagster's own events only have the traceback of the interrupt.
    """
    run = instance.get_run_by_id(run_id)
    is_cancelled = run is not None and run.status in _CANCELLED
    if is_cancelled and run_id not in _noted:
        _noted.add(run_id)
        instance.report_engine_event(CANCELLED, run)


def release_run(run_id: str) -> None:
    """Let go of the lock of a run that is over; harmless if this process does not hold it."""
    if run_id in _held:
        _held.pop(run_id).close()


@atexit.register
def _release_all() -> None:
    # A copy, since each release takes its run out of the dict.
    for run_id in list(_held):
        release_run(run_id)


def describe_this_run(run: dg.DagsterRun) -> str:
    """Return how others are told who holds the locks of a run."""
    return f"process {os.getpid()} (run {run.run_id[:8]})"


def report_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Report runs whose process is gone, free their concurrency slots, and return their ids.

    They are reported as cancelled where somebody had asked for that, otherwise as failed.
    """
    settings = load_settings().settings
    dead_runs = []
    unfinished = dg.RunsFilter(statuses=_UNFINISHED)
    for record in instance.get_run_records(unfinished):
        if _is_dead(instance, record, settings):
            run = record.dagster_run
            _report(instance, run)
            dead_runs.append(run.run_id)
    return dead_runs


def _report(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    message = "The process that drove this run is gone. All completed calls are in the journal."
    if run.status is dg.DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, message)
    else:
        instance.report_run_failed(run, message)
    # Dagster frees the slots of steps that end, and the steps of a dead run never do.
    instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _is_dead(
    instance: dg.DagsterInstance, record: dg.RunRecord, settings: Settings
) -> bool:
    run = record.dagster_run
    process = process_of(run)
    if process is None:
        return is_abandoned(instance, record)
    file = run.tags.get(LOCK_TAG)
    if file is None:
        return is_process_dead(run, process)
    is_here = is_on_this_host(process)
    lock = run_lock(run.run_id, settings, Path(file))
    try:
        if lock.is_held():
            return False
    except SetupError as error:
        # Another user's folder, or a database that is away: the lock tells nothing.
        logger.warning("run %s: %s", run.run_id, error)
        if is_here:
            return False
    return is_here or _is_silent(instance, run, settings.automation.lost_after_s)


def _is_silent(instance: dg.DagsterInstance, run: dg.DagsterRun, for_s: float) -> bool:
    """Tell whether a run of another host left the note unanswered; write the note if need be."""
    note = run.tags.get(SILENT_TAG)
    since = datetime.fromisoformat(note) if note else None
    # A clock that was set back would let a dead run wait for as long.
    if since is None or lies_ahead(since):
        now = datetime.now(UTC).isoformat(timespec="seconds")
        instance.add_run_tags(run.run_id, {SILENT_TAG: now})
        return False
    return has_passed(timedelta(seconds=for_s), since)


def _claim(run_id: str, settings: Settings) -> dict[str, str]:
    return {
        PROCESS_TAG: this_process(),
        CLAIMED_TAG: run_id,
        LOCK_TAG: str(run_lock_file(run_id, settings)),
        SILENT_TAG: "",
    }


def _heartbeat(
    instance: dg.DagsterInstance, run_id: str, claim: dict[str, str]
) -> bool:
    """Renew the run's tags if need be; False if the run was ended elsewhere."""
    try:
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        if run.status is dg.DagsterRunStatus.CANCELING:
            return False
        # Dagster writes all tags of a run at once. Two that tag at the same time undo each other.
        if not claim.items() <= run.tags.items():
            instance.add_run_tags(run_id, claim)
    except Exception as error:  # noqa: BLE001 - a database that is away ends no run
        logger.warning("run %s misses a heartbeat: %s", run_id, type(error).__name__)
    return True
