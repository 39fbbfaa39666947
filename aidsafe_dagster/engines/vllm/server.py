"""A vLLM server that outlives the runs that use it, shared by the processes of this machine.

Loading a large model takes minutes, so a server is started once and found again. A folder (`VLLMSettings.state`) holds
what processes need to agree on it:

    lock             held for the moment in which a server is started or stopped
    lease.json       which server there is: pids, port, hash of its arguments, state
    server.log       what it printed
    users/           a locked file per process that uses it; the lock goes with the process, however that ends

A small *keeper* process (`keeper.py`) is the server's parent: it waits for health, stops the server when nobody
has used it for a while, and takes it along when it is killed itself.
"""

import asyncio
import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import psutil
from filelock import FileLock

from aidsafe_dagster.engines.vllm.causes import explain, without_secrets
from aidsafe_dagster.engines.vllm.lease import (
    MARK,
    Lease,
    end_leftovers,
    leftovers,
    read_lease,
    users_of,
    write_lease,
)
from aidsafe_dagster.engines.vllm.settings import VLLMSettings
from aidsafe_dagster.recipe.errors import SetupError

_POLL_S = 0.2


class VLLMServer:
    """The server of some settings: found, started, shared, stopped.

    Raises:
        SetupError: no model is set.
    """

    def __init__(
        self, settings: VLLMSettings, log: Callable[[str], None] = lambda line: None
    ) -> None:
        if not settings.model:
            raise SetupError(
                "vllm.model: the model to serve is required (a folder, or its name on the Hub)"
            )
        self.settings = settings
        self.folder = settings.state.expanduser()
        self._log = log
        self._use: int | None = None

    async def acquire(self) -> Lease:
        """The lease of a healthy server, started if there is none; this process counts as a user until `release`.

        Raises:
            SetupError: it does not start (the message has the cause and the end of the log), or a server with other
                arguments is in use.
        """
        self._register()
        deadline = time.monotonic() + self.settings.start_timeout_s
        lease = self._claim()
        told = 0
        while lease.state == "starting":
            if not lease.alive:
                lease = self.lease() or lease
                raise self._not_started(lease, "its keeper process is gone")
            if time.monotonic() > deadline:
                self.stop()
                raise self._not_started(
                    lease, f"not ready after {self.settings.start_timeout_s:.0f} s"
                )
            told = self._relay(told)
            await asyncio.sleep(_POLL_S)
            lease = self.lease() or lease
        if lease.state != "ready":
            raise self._not_started(lease, lease.detail)
        return lease

    def release(self) -> None:
        """This process no longer uses the server; it stays until it has been idle for long enough."""
        if self._use is not None:
            os.close(self._use)
            self._use = None

    def lease(self) -> Lease | None:
        """The lease as it was last written, whether or not its server still lives."""
        return read_lease(self.folder)

    def stop(self) -> bool:
        """Ends the server and everything it started; True if there was one."""
        with self._lock():
            return self._stop()

    def discard(self, lease: Lease) -> None:
        """Ends what is left of a server that was found dead, unless another process has replaced it by now."""
        with self._lock():
            now = self.lease()
            if now and now.mark == lease.mark:
                self._stop()

    def log_tail(self, lines: int = 20) -> list[str]:
        """The end of the server's log, without secrets."""
        try:
            text = (self.folder / "server.log").read_text("utf-8", "replace")
        except OSError:
            return []
        return [without_secrets(line) for line in text.splitlines()[-lines:]]

    def users(self) -> list[int]:
        """Pids of the processes that use the server."""
        return list(users_of(self.folder))

    def _claim(self) -> Lease:
        with self._lock():
            lease = self.lease()
            if lease and lease.alive and lease.state in ("starting", "ready"):
                if lease.fingerprint == self.settings.fingerprint:
                    return lease
                others = [pid for pid in self.users() if pid != os.getpid()]
                if others:
                    raise SetupError(
                        f"a vLLM server with other arguments ({lease.model}) is in use by process "
                        f"{', '.join(map(str, others))}; wait for it, end it with `aidsafe engine stop`, "
                        "or give this one a vllm.state folder of its own"
                    )
            self._stop()
            return self._start()

    def _start(self) -> Lease:
        port = self.settings.port or _free_port()
        if not _is_free(port):
            raise SetupError(
                f"vllm.port: {port} is taken by another program; set another, or 0 for any free one"
            )
        mark = uuid4().hex
        plan = {
            "command": [
                *(
                    self.settings.python or sys.executable,
                    "-m",
                    "vllm.entrypoints.openai.api_server",
                ),
                *("--host", "127.0.0.1", "--port", str(port), *self.settings.arguments()),
            ],
            "environment": {**self.settings.environment, MARK: mark},
            "lease": {
                "mark": mark,
                "port": port,
                "fingerprint": self.settings.fingerprint,
                "model": self.settings.model,
                "idle_stop_s": self.settings.idle_stop_s,
            },
        }
        (self.folder / "plan.json").write_text(json.dumps(plan))
        (self.folder / "server.log").write_bytes(b"")
        return self._keeper_s_lease(mark)

    def _keeper_s_lease(self, mark: str) -> Lease:
        """Starts a keeper, which leaves this process's family, and waits for it to sign the lease."""
        command = [sys.executable, "-m", "aidsafe_dagster.engines.vllm.keeper", str(self.folder)]
        with (self.folder / "keeper.log").open("wb") as out:
            subprocess.run(  # noqa: S603 - our own interpreter and module
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                check=False,
                cwd=Path(__file__).parents[3],
            )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            lease = self.lease()
            if lease and lease.mark == mark:
                return lease
            time.sleep(0.02)
        raise SetupError(
            f"the vLLM server's keeper did not start; {self.folder / 'keeper.log'} says why"
        )

    def _stop(self) -> bool:
        lease = self.lease()
        if lease is None:
            return False
        was_there = lease.alive or bool(leftovers(lease.mark))
        if lease.alive:
            psutil.Process(lease.keeper).kill()
        end_leftovers(lease.mark)
        write_lease(
            self.folder,
            lease.model_copy(update={"state": "stopped", "detail": "stopped on request"}),
        )
        return was_there

    def _register(self) -> None:
        users = self.folder / "users"
        users.mkdir(parents=True, exist_ok=True)
        while self._use is None:
            file = users / f"{os.getpid()}-{uuid4().hex}"
            use = os.open(file, os.O_CREAT | os.O_RDWR)
            fcntl.flock(use, fcntl.LOCK_EX)
            if file.exists():  # else a scan for dead users came in between and removed it
                self._use = use
            else:
                os.close(use)

    def _lock(self) -> FileLock:
        self.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self.folder / "lock", timeout=60)

    def _relay(self, told: int) -> int:
        """Passes the log's new lines on as progress."""
        try:
            lines = (self.folder / "server.log").read_text("utf-8", "replace").splitlines()
        except OSError:
            return told
        for line in lines[told:]:
            self._log(f"vllm: {without_secrets(line)}")
        return len(lines)

    def _not_started(self, lease: Lease, what: str) -> SetupError:
        self.release()
        tail = self.log_tail()
        cause = explain("\n".join(self.log_tail(400))) or what
        return SetupError(
            f"vLLM did not start: {cause}\nIts last lines ({self.folder / 'server.log'}, state {lease.state}):\n"
            + "\n".join(f"  {line}" for line in tail)
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
