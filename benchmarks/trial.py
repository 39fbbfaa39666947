"""A client against a simulated server, measured from the outside."""

import json
import operator
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.serving import ModelServer
from tests.site import ROOT

Client = Literal["driver", "plain"]
CLIENTS: tuple[Client, ...] = ("driver", "plain")
NAMES: dict[Client, str] = {"driver": "the driver", "plain": "plain asyncio"}


@dataclass(frozen=True)
class Outcome:
    """Measurements of one client."""

    seconds: float
    used: float
    """Share of the server's slots that were busy between its first call and its last."""
    half_at: float
    """Share of the time by which half of the rows were done."""
    cpu_ms: float
    """CPU of the client per answered call."""
    grown_mb: float
    """Peak memory, above that of the libraries and the prompts."""
    digests: list[str]
    stats: dict[str, Any]

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
        cpu_ms=1000 * measurements["cpu_s"] / max(1, stats["ok"]),
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
        client,
        str(rows),
        str(slots),
        server.base_url,
        str(folder),
        str(batch_size or rows),
    ]
    return [sys.executable, "-m", "benchmarks.client", *arguments]
