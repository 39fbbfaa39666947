"""A client against a simulated server, measured from the outside."""

import json
import operator
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.serving import ModelServer
from tests.site import ROOT

Client = Literal["driver", "plain", "datatrove"]
CLIENTS: tuple[Client, ...] = ("driver", "plain")
"""Those of most benchmarks. The others need an environment of their own."""
NAMES: dict[Client, str] = {
    "driver": "the driver",
    "plain": "plain asyncio",
    "datatrove": "datatrove",
}
_PEERS = ROOT / ".venv-peers"
PEERS_READY = _PEERS / "ready"
"""Is there once `make .venv-peers/ready` has made the environment with the clients of others."""


@dataclass(frozen=True)
class Outcome:
    """Measurements of one client."""

    seconds: float
    used: float
    """Share of the server's slots that were busy between its first call and its last."""
    half_at: float
    """Share of the time by which half of the rows were done."""
    cpu_s: float
    """CPU of the client, user and system, children included; without the start of its process."""
    grown_mb: float
    """Peak memory, above that of the libraries and the prompts."""
    digests: list[str]
    stats: dict[str, Any]

    @property
    def cpu_ms(self) -> float:
        """CPU of the client per answered call, in milliseconds."""
        return 1000 * self.cpu_s / max(1, int(self.stats["ok"]))

    def count_right(self, expected: list[str]) -> int:
        """Return how many rows have the expected text."""
        return sum(map(operator.eq, self.digests, expected))


def run_trial(
    client: Client,
    server: ModelServer,
    rows: int,
    slots: int,
    folder: Path,
    batch_size: int | None = None,
) -> Outcome:
    """Run a client to its end.

    Args:
        client: which.
        server: answers it.
        rows: of work.
        slots: calls in flight.
        folder: keeps the client's journal, if it has one.
        batch_size: rows per batch. None: one batch.
    """
    arguments = client_command(client, server, rows, slots, folder, batch_size)
    process = subprocess.run(arguments, cwd=ROOT, capture_output=True, check=True)
    measurements = json.loads(process.stdout)
    stats = server.stats()
    return Outcome(
        seconds=measurements["seconds"],
        used=stats["utilisation"],
        half_at=measurements["half_at"],
        cpu_s=measurements["cpu_s"],
        grown_mb=measurements["grown_mb"],
        digests=measurements["digests"],
        stats=stats,
    )


def client_command(
    client: Client,
    server: ModelServer,
    rows: int,
    slots: int,
    folder: Path,
    batch_size: int | None = None,
) -> list[str]:
    arguments = [
        str(rows),
        str(slots),
        server.base_url,
        str(folder),
        str(batch_size or rows),
    ]
    if client == "datatrove":
        return [
            str(_PEERS / "bin" / "python"),
            "-m",
            "benchmarks.datatrove_client",
            *arguments,
        ]
    return [sys.executable, "-m", "benchmarks.client", client, *arguments]


def kill_after(calls: float, command: list[str], server: ModelServer) -> float:
    """Start a client, kill it (kill -9) once so many calls are answered; return the seconds."""
    started = time.monotonic()
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        while server.stats()["ok"] < calls and process.poll() is None:
            time.sleep(0.05)
        # With whatever it has started, such as datatrove's manager.
        os.killpg(process.pid, signal.SIGKILL)
    return time.monotonic() - started
