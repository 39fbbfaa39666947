"""A vLLM server that outlives the runs that use it, shared by the processes of this machine.

Loading a large model takes minutes, so a server is started once and found again. A folder
(`VLLMSettings.state`) holds what processes need to agree on it:

    lock             held for the moment in which a server is started or stopped
    lease.json       which server there is: pids, port, hash of its arguments, state
    keeper.lock      held by the keeper of the server as long as it lives
    users/           a file per process that uses the server, held as long as it does
    server.log       what the server printed

A small *keeper* process (`keeper.py`) is the server's parent. It waits for health, stops the server
when nobody has used it for a while, and takes the server along when it is killed itself.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import psutil

from aidsafe_dagster.engines.vllm.causes import explain
from aidsafe_dagster.engines.vllm.lease import (
    MARK,
    Lease,
    end_leftovers,
    is_kept,
    leftovers,
    read_lease,
    start_lock,
    user_lock,
    users_of,
    write_lease,
)
from aidsafe_dagster.engines.vllm.settings import VLLMSettings
from aidsafe_dagster.primitives.lock_file import LockFile
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.secret_mask import mask_environment

_POLL_S = 0.2
_KEEPER_POLL_S = 0.02
_KEEPER_TIMEOUT_S = 30
_LOCK_TIMEOUT_S = 60
_LINES_SHOWN = 20
_LINES_SEARCHED = 400


class VLLMServer:
    """The server of some settings: find it, start it, share it, stop it.

    Raises:
        SetupError: no model is set.
    """

    def __init__(
        self,
        settings: VLLMSettings,
        log: Callable[[str], None] = lambda line: None,  # noqa: ARG005
    ) -> None:
        if not settings.model:
            raise SetupError(
                "vllm.model: the model to serve is required (a folder, or its name on the Hub)"
            )
        self.settings = settings
        self.folder = settings.state.expanduser()
        self._log = log
        self._use: LockFile | None = None

    async def acquire(self) -> Lease:
        """Return the lease of a healthy server, starting one if there is none.

        This process counts as a user of the server until `release`.

        Raises:
            SetupError: the server does not start (the message has the cause and the end of the
                log), or a server with other arguments is in use.
        """
        # First, so that no keeper finds the server idle while this process looks at it.
        self._register()
        deadline = time.monotonic() + self.settings.start_timeout_s
        lease = self._find_or_start()
        lines_logged = 0
        while lease.state == "starting":
            if not is_kept(self.folder):
                # Read once more: a keeper writes down why it ends before it ends.
                lease = self.lease() or lease
                raise self._not_started(lease, "its keeper process is gone")
            if time.monotonic() > deadline:
                self.stop()
                timeout = f"not ready after {self.settings.start_timeout_s:.0f} s"
                raise self._not_started(lease, timeout)
            lines_logged = self._log_progress(lines_logged)
            await asyncio.sleep(_POLL_S)
            lease = self.lease() or lease
        if lease.state != "ready":
            raise self._not_started(lease, lease.detail)
        return lease

    def release(self) -> None:
        """Stop using the server. It stays until it has been idle for long enough."""
        if self._use is not None:
            self._use.release()
            self._use = None

    def lease(self) -> Lease | None:
        """Return the lease as it was last written, whether or not its server is still alive."""
        return read_lease(self.folder)

    def is_running(self) -> bool:
        """Tell whether a server is starting or ready, and its keeper is alive."""
        lease = self.lease()
        return lease is not None and self._is_running(lease)

    def stop(self) -> bool:
        """End the server and everything it started; True if there was one."""
        with self._lock():
            return self._stop()

    def discard(self, lease: Lease) -> None:
        """End what is left of a dead server, unless another process has replaced it by now."""
        with self._lock():
            current = self.lease()
            # Every server has a mark of its own. Another mark means another server.
            if current and current.mark == lease.mark:
                self._stop()

    def log_tail(self, lines: int = _LINES_SHOWN) -> list[str]:
        """Return the end of the server's log, with secrets masked."""
        return [mask_environment(line) for line in self._read_log()[-lines:]]

    def users(self) -> list[int]:
        """Return the pids of the processes that use the server."""
        return list(users_of(self.folder))

    def _is_running(self, lease: Lease) -> bool:
        return lease.state in ("starting", "ready") and is_kept(self.folder)

    def _find_or_start(self) -> Lease:
        with self._lock():
            lease = self.lease()
            if lease and self._is_running(lease):
                if lease.fingerprint == self.settings.fingerprint:
                    return lease
                self._refuse_if_used(lease)
            # Even without a keeper: what a killed one left behind may still hold the GPU.
            self._stop()
            return self._start()

    def _refuse_if_used(self, lease: Lease) -> None:
        others = [str(pid) for pid in self.users() if pid != os.getpid()]
        if others:
            raise SetupError(
                f"a vLLM server with other arguments ({lease.model}) is in use by process "
                f"{', '.join(others)}; wait for it, end it with `aidsafe engine stop`, "
                "or give this one a vllm.state folder of its own"
            )

    def _start(self) -> Lease:
        port = self.settings.port or _free_port()
        if not _is_free(port):
            raise SetupError(
                f"vllm.port: {port} is taken by another program; set another, or 0 for any free one"
            )
        mark = uuid4().hex
        plan = {
            "command": self._command(port),
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
        # Emptied, so that no old error is taken for the cause of a new one.
        (self.folder / "server.log").write_bytes(b"")
        self._start_keeper()
        return self._wait_for_lease(mark)

    def _command(self, port: int) -> list[str]:
        python = self.settings.python or sys.executable
        address = ["--host", "127.0.0.1", "--port", str(port)]
        server = [python, "-m", "vllm.entrypoints.openai.api_server"]
        return [*server, *address, *self.settings.arguments()]

    def _start_keeper(self) -> None:
        """Start a keeper. It forks at once, and so is no child of this process."""
        command = [
            sys.executable,
            "-m",
            "aidsafe_dagster.engines.vllm.keeper",
            str(self.folder),
        ]
        with (self.folder / "keeper.log").open("wb") as out:
            subprocess.run(  # noqa: S603 - our own interpreter and module
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                check=False,
                cwd=Path(__file__).parents[3],
            )

    def _wait_for_lease(self, mark: str) -> Lease:
        deadline = time.monotonic() + _KEEPER_TIMEOUT_S
        while time.monotonic() < deadline:
            lease = self.lease()
            if lease and lease.mark == mark:
                return lease
            time.sleep(_KEEPER_POLL_S)
        raise SetupError(
            f"the vLLM server's keeper did not start; {self.folder / 'keeper.log'} says why"
        )

    def _stop(self) -> bool:
        lease = self.lease()
        if lease is None:
            return False
        has_keeper = is_kept(self.folder)
        was_running = has_keeper or bool(leftovers(lease))
        # The pid of a keeper that is gone may belong to another program by now.
        if has_keeper:
            with suppress(psutil.NoSuchProcess):
                psutil.Process(lease.keeper).kill()
        end_leftovers(lease)
        stopped = {"state": "stopped", "detail": "stopped on request"}
        write_lease(self.folder, lease.model_copy(update=stopped))
        return was_running

    def _register(self) -> None:
        if self._use is None:
            use = user_lock(self.folder)
            # A process that looks for dead users may be looking at the new file just now.
            while not use.try_hold(str(os.getpid())):
                time.sleep(_KEEPER_POLL_S)
            self._use = use

    @contextmanager
    def _lock(self) -> Iterator[None]:
        holder = f"process {os.getpid()}"
        try:
            with start_lock(self.folder).hold(holder, timeout_s=_LOCK_TIMEOUT_S):
                yield
        except TimeoutError as error:
            raise SetupError(
                f"{self.folder}: {error}; wait for it, or end that process"
            ) from error

    def _log_progress(self, lines_logged: int) -> int:
        """Pass the log's new lines on as progress; return how many were passed on so far."""
        lines = self._read_log()
        for line in lines[lines_logged:]:
            self._log(f"vllm: {mask_environment(line)}")
        return len(lines) or lines_logged

    def _read_log(self) -> list[str]:
        file = self.folder / "server.log"
        try:
            return file.read_text("utf-8", "replace").splitlines()
        except OSError:
            return []

    def _not_started(self, lease: Lease, reason: str) -> SetupError:
        self.release()
        # The cause may stand far above the last lines, which are often a traceback's.
        searched = "\n".join(self.log_tail(_LINES_SEARCHED))
        cause = explain(searched) or reason
        log = self.folder / "server.log"
        last_lines = "\n".join(f"  {line}" for line in self.log_tail())
        return SetupError(
            f"vLLM did not start: {cause}\n"
            f"Its last lines ({log}, state {lease.state}):\n{last_lines}"
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the server does: connections of its predecessor may still be closing.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
