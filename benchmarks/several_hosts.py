"""Several processes at the same batches at once, and what that takes of the machine."""

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.several import SERVER, Load, Meter
from tests.serving import ModelServer
from tests.site import environment

PROCESSES = (1, 2, 3)
PACES = (10.0, 1000.0)
"""Calls of 0.13 s, and calls that are answered at once."""
BATCHES = 6
"""As many for each, whether one, two or three are at work."""
IN_FLIGHT = 32
"""Calls at a time of each process."""
CLIENTS, POSTGRES = "clients", "PostgreSQL"
COLUMNS = (
    "what",
    "server",
    "processes",
    "calls",
    "calls made twice",
    "calls a second",
    "× one",
    "CPU ms a call: clients",
    "model server",
    "PostgreSQL",
    "cores busy: these",
    "the whole machine",
)
Line = tuple[object, ...]


@dataclass(frozen=True)
class Place:
    """Where a process works: its project's folder, and variables of its environment."""

    folder: Path
    variables: Mapping[str, str]


@dataclass(frozen=True)
class HostsLoad:
    calls: int
    twice: int
    load: Load


def measure_hosts(
    server: ModelServer,
    places: Sequence[Place],
    slots: int,
    rows: int,
    groups: Mapping[str, Sequence[int]],
    entries: Callable[[], int],
) -> HostsLoad:
    """Let a process in each place make the batches, all at once, until they have ended.

    Args:
        server: answers them.
        places: one for each process.
        slots: of the endpoint, as each project has it in its settings.
        rows: of each batch.
        groups: processes besides them whose CPU is measured.
        entries: returns how many the journal has.
    """
    with ExitStack() as stack:
        clients = []
        for place in places:
            client = _start(server, place, slots, rows)
            clients.append(stack.enter_context(client))
        for client in clients:
            if read_line(client) != "ready\n":
                raise RuntimeError(f"{client.args!r} has ended")
        server.control(reset=True)
        meter = Meter(
            calls=lambda: int(server.stats()["ok"]),
            groups={CLIENTS: [client.pid for client in clients], **groups},
            server_s=lambda: float(server.stats()["server_cpu_s"]),
        )
        with meter.running():
            for client in clients:
                tell(client)
            statuses = [client.wait() for client in clients]
        if any(statuses):
            raise RuntimeError(f"processes ended with {statuses}")
    calls = int(server.stats()["ok"])
    return HostsLoad(calls, calls - entries(), meter.load())


def _start(
    server: ModelServer, place: Place, slots: int, rows: int
) -> subprocess.Popen[str]:
    arguments = [server.base_url, str(slots), str(BATCHES), str(rows)]
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.host_client", *arguments],
        cwd=place.folder,
        env=environment(place.folder, **place.variables),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def read_line(client: subprocess.Popen[str]) -> str:
    """Return the next line that a process says, empty if it has ended."""
    assert client.stdout is not None
    return client.stdout.readline()


def tell(client: subprocess.Popen[str]) -> None:
    """Let a process go on that waits for a line."""
    assert client.stdin is not None
    client.stdin.write("go\n")
    client.stdin.flush()


def line(
    what: str, pace: float, count: int, measured: HostsLoad, first: HostsLoad
) -> Line:
    """Return a line of the table; `first` is that of one process."""
    load = measured.load
    total_ms = sum(load.cpu_ms.values())
    return (
        what,
        "answers at once" if pace >= PACES[-1] else f"calls of {1.3 / pace:.2g} s",
        count,
        f"{measured.calls:,}",
        measured.twice,
        f"{load.calls_a_second:.0f}",
        f"{load.calls_a_second / first.load.calls_a_second:.2f}",
        f"{load.cpu_ms[CLIENTS]:.2f}",
        f"{load.cpu_ms[SERVER]:.2f}",
        f"{load.cpu_ms[POSTGRES]:.2f}" if POSTGRES in load.cpu_ms else "–",
        f"{load.calls_a_second * total_ms / 1000:.2f}",
        f"{load.machine_cores:.2f}",
    )
