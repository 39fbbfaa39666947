"""The keeper: parent of a vLLM server (see `server.py`). Run as `python -m …keeper FOLDER`.

It starts the server, waits for health, and stops it when nobody has used it for long enough. When
the server dies or does not come up, the keeper says so in the lease and ends too. When the keeper
is killed, the kernel ends the server.
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

from aidsafe_dagster.engines.vllm.lease import (
    Lease,
    end_leftovers,
    is_used,
    keeper_lock,
    start_lock,
    write_lease,
)

_POLL_S = 0.5
_PR_SET_PDEATHSIG = 1


def main(folder: Path) -> None:
    """Keep the server that `plan.json` describes, as a process of its own with no parent."""
    # The parent ends at once and the child leaves its session, so that the server outlives the run
    # and gets none of its signals.
    if os.fork():
        return
    os.setsid()
    # An exception and not a sudden end, so that the lease below says what happened.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    plan = json.loads((folder / "plan.json").read_text())
    # The lock comes before the lease: whoever reads the new lease finds its keeper alive.
    with keeper_lock(folder).hold(str(os.getpid())):
        lease = Lease(keeper=os.getpid(), **plan["lease"])
        write_lease(folder, lease)
        server = _start_server(folder, plan["command"], plan["environment"])
        try:
            lease = lease.model_copy(update={"server": server.pid})
            lease = _watch(folder, server, lease)
        finally:
            # Workers may outlive the server's main process and keep the GPU's memory.
            end_leftovers(lease)
            if lease.state in ("starting", "ready"):
                lease = _close(lease, "stopped", "the keeper was ended")
            write_lease(folder, lease)


def _start_server(
    folder: Path, command: list[str], environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    with (folder / "server.log").open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - the command comes from the settings
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=os.environ | environment,
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - this process has one thread
        )


def _watch(folder: Path, server: subprocess.Popen[bytes], lease: Lease) -> Lease:
    """Watch the server until it ends; return the lease that says how it ended."""
    last_used = time.monotonic()
    write_lease(folder, lease)
    while server.poll() is None:
        if lease.state == "starting" and _is_healthy(lease):
            lease = lease.model_copy(update={"state": "ready"})
            write_lease(folder, lease)
        if is_used(folder):
            last_used = time.monotonic()
        elif time.monotonic() - last_used > lease.idle_stop_s:
            stopped = _stop_idle(folder, lease)
            if stopped is not None:
                return stopped
        time.sleep(_POLL_S)
    detail = f"the server ended with exit code {server.returncode}"
    return _close(lease, "failed", detail)


def _stop_idle(folder: Path, lease: Lease) -> Lease | None:
    """Stop the server if nobody uses it; None if somebody does, or is about to.

    Under the lock, so that nobody finds the server healthy at the moment in which it is stopped.
    """
    lock = start_lock(folder)
    if not lock.try_hold(f"keeper {os.getpid()}"):
        return None
    try:
        # Somebody may have come between the last look and the lock.
        if is_used(folder):
            return None
        stopped = _close(lease, "stopped", f"idle for {lease.idle_stop_s:.0f} s")
        write_lease(folder, stopped)
        end_leftovers(lease)
        return stopped
    finally:
        lock.release()


def _close(lease: Lease, state: str, detail: str) -> Lease:
    return lease.model_copy(update={"state": state, "detail": detail})


def _is_healthy(lease: Lease) -> bool:
    url = f"{lease.root}/health"
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:  # noqa: S310 - on loopback
            return bool(reply.status == 200)
    except OSError:
        return False


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
