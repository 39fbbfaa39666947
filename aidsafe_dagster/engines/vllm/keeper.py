"""The keeper: parent of a vLLM server (see `server.py`). Run as `python -m …keeper FOLDER`.

It starts the server, waits for health, and ends it when nobody has used it for long enough. When the server dies, or
does not come up, the keeper says so in the lease and ends too; when the keeper is killed, the kernel ends the server.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from aidsafe_dagster.engines.vllm.lease import Lease, end_leftovers, is_used, write_lease
from aidsafe_dagster.primitives.process_start import since_boot

_POLL_S = 0.5
_PR_SET_PDEATHSIG = 1


def main(folder: Path) -> None:
    """Keeps the server that `plan.json` describes, as a process that no other is the parent of."""
    if os.fork():
        return
    os.setsid()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    plan = json.loads((folder / "plan.json").read_text())
    lease = Lease(keeper=os.getpid(), keeper_started=since_boot(psutil.Process()), **plan["lease"])
    write_lease(folder, lease)
    with (folder / "server.log").open("ab") as log:
        server = subprocess.Popen(  # noqa: S603 - the command comes from the settings
            plan["command"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=os.environ | plan["environment"],
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - this process has one thread
        )
    try:
        lease = _until_over(folder, server, lease.model_copy(update={"server": server.pid}))
    finally:
        end_leftovers(lease.mark)
        if lease.state in ("starting", "ready"):
            lease = lease.model_copy(update={"state": "stopped", "detail": "the keeper was ended"})
        write_lease(folder, lease)


def _until_over(folder: Path, server: subprocess.Popen[bytes], lease: Lease) -> Lease:
    """Watches the server to its end; returns the lease that says what the end was."""
    used = time.monotonic()
    write_lease(folder, lease)
    while server.poll() is None:
        if lease.state == "starting" and _is_healthy(lease):
            lease = lease.model_copy(update={"state": "ready"})
            write_lease(folder, lease)
        if is_used(folder):
            used = time.monotonic()
        elif time.monotonic() - used > lease.idle_stop_s and (
            stopped := _stopped_idle(folder, lease)
        ):
            return stopped
        time.sleep(_POLL_S)
    return lease.model_copy(
        update={"state": "failed", "detail": f"the server ended with exit code {server.returncode}"}
    )


def _stopped_idle(folder: Path, lease: Lease) -> Lease | None:
    """Under the lock, so that nobody finds the server healthy in the moment in which it is ended."""
    try:
        with FileLock(folder / "lock", timeout=0):
            if is_used(folder):
                return None
            stopped = lease.model_copy(
                update={"state": "stopped", "detail": f"idle for {lease.idle_stop_s:.0f} s"}
            )
            write_lease(folder, stopped)
            end_leftovers(lease.mark)
            return stopped
    except Timeout:
        return None


def _is_healthy(lease: Lease) -> bool:
    try:
        with urllib.request.urlopen(f"{lease.root}/health", timeout=2) as reply:  # noqa: S310 - on loopback
            return bool(reply.status == 200)
    except OSError:
        return False


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
