"""Which process a run lives in, and whether it still does.

A run is tagged with host, pid and start time of its process; a pid alone is reused by the system sooner or later.
"""

import os
import socket

import dagster as dg
import psutil

PROCESS_TAG = "aidsafe/process"
_GOING_ON = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def this_process() -> str:
    """`<host>:<pid>:<start time>`."""
    return f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid())}"


def claim_run(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Tags a run with this process, once."""
    if run.tags.get(PROCESS_TAG) != this_process():
        instance.add_run_tags(run.run_id, {PROCESS_TAG: this_process()})


def report_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Reports as failed the runs of this machine whose process is gone, and frees their slots; returns their ids."""
    dead = [run for run in instance.get_runs(dg.RunsFilter(statuses=_GOING_ON)) if _is_dead(run)]
    for run in dead:
        instance.report_run_failed(
            run, "The process that drove this run is gone; what it had answered is in the journal."
        )
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return [run.run_id for run in dead]


def _is_dead(run: dg.DagsterRun) -> bool:
    tag = run.tags.get(PROCESS_TAG)
    if not tag:
        return False
    host, pid, started = tag.rsplit(":", 2)
    return host == socket.gethostname() and _started(int(pid)) != started


def _started(pid: int) -> str:
    """When a process started; empty if there is no such process, or only its remains."""
    try:
        process = psutil.Process(pid)
        return "" if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.NoSuchProcess:
        return ""
