"""Which process drives a run, in the run's tags: host, pid and start time.

A lock says better whether that process is alive (`liveness.py`). The tags decide alone in two
cases: a command has just created the run and its lock is yet to be taken, and the run belongs to an
older release, which tagged its runs with a heartbeat instead of holding a lock.
"""

import os
import socket
from datetime import UTC, datetime

import dagster as dg
import psutil

from aidsafe_dagster.primitives.process_start import since_boot

PROCESS_TAG = "aidsafe/process"
CLAIMED_TAG = "aidsafe/claimed_run"
"""The run that the other tags are about. A run that repeats another inherits all its tags."""
STOPPED_TAG = "aidsafe/stopped_run"
"""The run that a signal to its command ended: a person's wish, after which no daemon repeats it."""
ALIVE_TAG = "aidsafe/alive_until"
"""The heartbeat of older releases."""


def this_process() -> str:
    """Return `<host>:<pid>:<start time>`."""
    pid = os.getpid()
    return f"{socket.gethostname()}:{pid}:{_start_time(pid)}"


def process_of(run: dg.DagsterRun) -> str | None:
    """Return the process that drives the run; None if no process has claimed it yet."""
    claimed_run = run.tags.get(CLAIMED_TAG)
    # Older releases left this tag out. Without a parent, all tags are the run's own.
    if claimed_run is None and run.parent_run_id is None:
        claimed_run = run.run_id
    return run.tags.get(PROCESS_TAG) if claimed_run == run.run_id else None


def is_on_this_host(process: str) -> bool:
    # From the right, since nothing keeps a colon out of a host's name.
    host, _, _ = process.rsplit(":", 2)
    return host == socket.gethostname()


def is_process_dead(run: dg.DagsterRun, process: str) -> bool:
    """Tell by the tags whether the process of a run is gone; False if they do not say."""
    if is_on_this_host(process):
        _, pid, start_time = process.rsplit(":", 2)
        return _start_time(int(pid)) != start_time
    alive_until = run.tags.get(ALIVE_TAG)
    # Nothing to go by: better to keep a dead run than to end a living one.
    if not alive_until:
        return False
    return datetime.fromisoformat(alive_until) < datetime.now(UTC)


def _start_time(pid: int) -> str:
    """Return when a process started; empty if there is no such process, or only its remains."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return ""
        return f"{since_boot(process):.2f}"
    except psutil.NoSuchProcess:
        return ""
