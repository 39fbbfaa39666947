"""A client against a simulated server, measured from outside."""

import json
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
    seconds: float
    used: float
    """Share of the server's slots that worked, from its first call to its last."""
    half_at: float
    """Share of the time by which half of the rows were done."""
    cpu_ms: float
    """Of the client, per answered call."""
    grown_mb: float
    """Memory at its peak, above that of the libraries and the prompts."""
    digests: list[str]
    stats: dict[str, Any]

    def right(self, expected: list[str]) -> int:
        """Rows that say what they ought to say."""
        return sum(one == other for one, other in zip(self.digests, expected, strict=True))


def trial(
    client: Client,
    server: ModelServer,
    rows: int,
    slots: int,
    folder: Path,
    batch_size: int | None = None,
) -> Outcome:
    """Runs a client to its end; `folder` keeps its journal, if it has one. Without `batch_size` all is one batch."""
    arguments = command(client, server, rows, slots, folder, batch_size)
    process = subprocess.run(arguments, cwd=ROOT, capture_output=True, check=True)
    seen, stats = json.loads(process.stdout), server.stats()
    return Outcome(
        seconds=seen["seconds"],
        used=stats["utilisation"],
        half_at=seen["half_at"],
        cpu_ms=1000 * seen["cpu_s"] / max(1, stats["ok"]),
        grown_mb=seen["grown_mb"],
        digests=seen["digests"],
        stats=stats,
    )


def command(
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
