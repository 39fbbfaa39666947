"""Which process a run lives in, and whether it still does.

A run is tagged with host, pid and start time of its process; a pid alone is reused by the system sooner or later. Only
the host itself can tell whether the process lives. For all others a run says until when it is to be believed alive,
again and again: a host that lost its power falls silent, and another takes its batch up.

A run that is started again inherits the tags of the one before it, and with them a dead process. So a tag also says
which run it speaks of; of a run that has not spoken yet, its code server knows more (`code_servers.py`).
"""

import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import Event, Thread

import dagster as dg
import psutil

from aidsafe_dagster.primitives.process_start import since_boot
from aidsafe_dagster.runs.abandoned_runs import is_abandoned

logger = logging.getLogger(__name__)
PROCESS_TAG = "aidsafe/process"
CLAIMED_TAG = "aidsafe/claimed_run"
"""The run that the other two speak of."""
ALIVE_TAG = "aidsafe/alive_until"
EVERY_S = 10.0
"""A run says so often that it is alive, and looks whether it is still to go on."""
_GOING_ON = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def this_process() -> str:
    """`<host>:<pid>:<start time>`."""
    return f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid())}"


def claim_run(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Tags a run with this process, once."""
    if _claim_of(run) != this_process():
        instance.add_run_tags(run.run_id, _claim(run.run_id))


@contextmanager
def heartbeat(
    instance: dg.DagsterInstance, run: dg.DagsterRun, lost_after_s: float
) -> Iterator[None]:
    """Claims the run, and tags it with the time until which to believe it alive, again and again while the block lasts.

    A run that was ended elsewhere meanwhile, by a person or because it was silent for too long, is interrupted: so no
    two processes go on with one batch. Hosts have to agree on the time to within a fraction of `lost_after_s`.
    """
    instance.add_run_tags(run.run_id, _claim(run.run_id) | _alive_for(lost_after_s))
    done = Event()
    telling = Thread(
        target=_tell_alive, args=(instance, run.run_id, lost_after_s, done), daemon=True
    )
    telling.start()
    try:
        yield
    finally:
        done.set()
        telling.join()


def report_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Reports the runs whose process is gone as failed, or as cancelled where somebody had asked for that, and frees
    their slots; returns their ids."""
    going_on = instance.get_run_records(dg.RunsFilter(statuses=_GOING_ON))
    dead = [record.dagster_run for record in going_on if _is_dead(instance, record)]
    for run in dead:
        cancelled = run.status is dg.DagsterRunStatus.CANCELING
        report = instance.report_run_canceled if cancelled else instance.report_run_failed
        report(
            run, "The process that drove this run is gone; what it had answered is in the journal."
        )
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return [run.run_id for run in dead]


def _is_dead(instance: dg.DagsterInstance, record: dg.RunRecord) -> bool:
    run = record.dagster_run
    claim = _claim_of(run)
    if not claim:
        return is_abandoned(instance, record)
    host, pid, started = claim.rsplit(":", 2)
    if host == socket.gethostname():
        return _started(int(pid)) != started
    until = run.tags.get(ALIVE_TAG, "")
    return until != "" and datetime.fromisoformat(until) < datetime.now(UTC)


def _tell_alive(
    instance: dg.DagsterInstance, run_id: str, lost_after_s: float, done: Event
) -> None:
    while not done.is_set():
        try:
            if _is_ended(instance, run_id):
                os.kill(os.getpid(), signal.SIGINT)  # as if by Ctrl-C: Dagster ends the run
                return
            instance.add_run_tags(
                run_id, _claim(run_id) | _alive_for(lost_after_s)
            )  # who tags at once may undo both
        except Exception as error:  # noqa: BLE001 - a database that is away for a moment must not end the run
            logger.warning("run %s cannot say that it is alive: %s", run_id, type(error).__name__)
        done.wait(min(EVERY_S, lost_after_s / 5))


def _claim(run_id: str) -> dict[str, str]:
    return {PROCESS_TAG: this_process(), CLAIMED_TAG: run_id}


def _claim_of(run: dg.DagsterRun) -> str | None:
    """The process that drives the run; None if it has not said so yet."""
    claimed = run.tags.get(CLAIMED_TAG, None if run.parent_run_id else run.run_id)
    return run.tags.get(PROCESS_TAG) if claimed == run.run_id else None


def _alive_for(seconds: float) -> dict[str, str]:
    return {
        ALIVE_TAG: (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="seconds")
    }


def _is_ended(instance: dg.DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    return run is None or run.is_finished or run.status is dg.DagsterRunStatus.CANCELING


def _started(pid: int) -> str:
    """When a process started; empty if there is no such process, or only its remains."""
    try:
        process = psutil.Process(pid)
        return "" if process.status() == psutil.STATUS_ZOMBIE else f"{since_boot(process):.2f}"
    except psutil.NoSuchProcess:
        return ""
