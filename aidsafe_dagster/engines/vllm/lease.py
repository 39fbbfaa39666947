"""The lease: what processes agree on about a shared server, and how they know who is alive.

The keeper of a server, and each process that uses it, holds a locked file: a held lock means alive.
The server's own processes are recognised by a mark in their environment, or by their session where
a title has overwritten that.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal
from uuid import uuid4

import psutil

from aidsafe_dagster.primitives.atomic_write import write_text
from aidsafe_dagster.primitives.lock_file import LockFile
from aidsafe_dagster.recipe.records import Record

MARK = "AIDSAFE_VLLM_LEASE"
"""Variable in the environment of a server and of its children, by which leftovers are found."""


class Lease(Record):
    """Which server there is. Written by its keeper, read by everybody."""

    mark: str
    keeper: int
    """Pid of the keeper. Whether it is alive, its lock says."""
    server: int = 0
    port: int
    fingerprint: str
    model: str
    state: Literal["starting", "ready", "failed", "stopped"] = "starting"
    detail: str = ""
    idle_stop_s: float

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def read_lease(folder: Path) -> Lease | None:
    """Return the lease as it was last written, whether or not its server is still alive."""
    try:
        values = json.loads((folder / "lease.json").read_bytes())
        # Written by older releases, which held no lock.
        values.pop("keeper_started", None)
        return Lease.model_validate(values)
    except (OSError, ValueError, AttributeError):
        return None


def write_lease(folder: Path, lease: Lease) -> None:
    """Replace the lease by an atomic write."""
    write_text(folder / "lease.json", lease.model_dump_json(), durable=False)


def start_lock(folder: Path) -> LockFile:
    """Return the lock that is held for the moment in which a server is started or stopped."""
    return LockFile(folder / "lock", "the vLLM server")


def keeper_lock(folder: Path) -> LockFile:
    """Return the lock that the keeper holds while it lives."""
    return LockFile(folder / "keeper.lock", "the vLLM keeper")


def is_kept(folder: Path) -> bool:
    """Tell whether the server's keeper is alive."""
    return keeper_lock(folder).is_held()


def user_lock(folder: Path) -> LockFile:
    """Return the lock that this process holds while it uses the server."""
    name = f"{os.getpid()}-{uuid4().hex}"
    return LockFile(folder / "users" / name, temporary=True)


def users_of(folder: Path) -> Iterator[int]:
    """Yield the pids of the processes that use the server; remove the files of dead ones."""
    for file in (folder / "users").glob("*-*"):
        if LockFile(file, temporary=True).is_held():
            yield int(file.name.partition("-")[0])


def is_used(folder: Path) -> bool:
    """Tell whether any living process uses the server."""
    return any(users_of(folder))


def leftovers(lease: Lease) -> list[psutil.Process]:
    """Return a server's processes, whoever their parent is."""
    processes = []
    for process in psutil.process_iter():
        # Of other users' processes the environment is hidden, and they are none of ours.
        with suppress(psutil.Error, ProcessLookupError):
            if _belongs_to(lease, process):
                processes.append(process)
    return processes


def _belongs_to(lease: Lease, process: psutil.Process) -> bool:
    environment = process.environ()
    if environment:
        return environment.get(MARK) == lease.mark
    # vLLM's engine and workers set titles, which overwrite their environment. They stay in the
    # session that the server was started in, and nobody gets its number while it has members.
    return bool(lease.server) and os.getsid(process.pid) == lease.server


def end_leftovers(lease: Lease, patience_s: float = 10) -> None:
    """End a server's processes, gently first."""
    processes = leftovers(lease)
    for process in processes:
        _unless_gone(process.terminate)
    _, alive = psutil.wait_procs(processes, timeout=patience_s)
    # Looked for again, since a process may have started others meanwhile.
    for process in [*alive, *leftovers(lease)]:
        _unless_gone(process.kill)


def _unless_gone(act: Callable[[], None]) -> None:
    with suppress(psutil.NoSuchProcess):
        act()
