"""The lease: what processes agree on of a shared server, and how the living are told from the dead.

A pid alone proves nothing, since the system uses it again: a keeper is known by pid and start time, a server's
processes by a mark in their environment, a user by a lock that the kernel drops when the process ends.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

import psutil

from aidsafe_dagster.primitives.process_start import since_boot
from aidsafe_dagster.recipe.records import Record

MARK = "AIDSAFE_VLLM_LEASE"
"""Variable in the environment of a server and of all its children: how leftovers are found."""


class Lease(Record):
    """Which server there is. Written by its keeper, read by everybody."""

    mark: str
    keeper: int
    keeper_started: float
    server: int = 0
    port: int
    fingerprint: str
    model: str
    state: Literal["starting", "ready", "failed", "stopped"] = "starting"
    detail: str = ""
    idle_stop_s: float

    @property
    def alive(self) -> bool:
        """Its keeper lives: a pid alone could belong to somebody else by now."""
        try:
            process = psutil.Process(self.keeper)
            same = abs(since_boot(process) - self.keeper_started) < 0.1
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def read_lease(folder: Path) -> Lease | None:
    """The lease as it was last written, whether or not its server still lives."""
    try:
        return Lease.model_validate_json((folder / "lease.json").read_bytes())
    except (OSError, ValueError):
        return None


def write_lease(folder: Path, lease: Lease) -> None:
    """Replaces the lease in one step."""
    beside = folder / f".lease-{os.getpid()}"
    beside.write_text(lease.model_dump_json())
    beside.replace(folder / "lease.json")


def leftovers(mark: str) -> list[psutil.Process]:
    """Processes of a server, found by the mark in their environment, whoever their parent is by now."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def end_leftovers(mark: str, patience_s: float = 10) -> None:
    """Ends a server's processes, gently first."""
    processes = leftovers(mark)
    for process in processes:
        _unless_gone(process.terminate)
    _, alive = psutil.wait_procs(processes, timeout=patience_s)
    for process in [*alive, *leftovers(mark)]:
        _unless_gone(process.kill)


def _unless_gone(act: Callable[[], None]) -> None:
    with suppress(psutil.NoSuchProcess):
        act()


def is_used(folder: Path) -> bool:
    return next(users_of(folder), None) is not None


def users_of(folder: Path) -> Iterator[int]:
    """Pids of the processes that use the server; what dead ones left behind is removed."""
    users = folder / "users"
    for file in users.glob("*-*") if users.exists() else ():
        try:
            with file.open("r+b") as opened:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                file.unlink(missing_ok=True)
        except BlockingIOError:
            yield int(file.name.partition("-")[0])
        except FileNotFoundError:
            continue
