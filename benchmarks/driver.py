"""The driver alone, without Dagster, with its journal."""

import tempfile
from pathlib import Path

from benchmarks.machine import wake_up_cost
from benchmarks.options import Options, Section, describe_server
from benchmarks.server import a_simulated_server
from benchmarks.trial import CLIENTS, NAMES, Client, run_trial

_SIZES = [(500, 64, 1.0), (500, 64, 10.0), (500, 64, 100.0), (2000, 256, 1.0)]
"""Rows, slots, pace.

At pace 100 the client cannot keep up and never sleeps, which shows the CPU of its work."""


def run(options: Options) -> Section:
    sizes = [(options.rows, options.slots, options.pace)] if options.rows else _SIZES
    return Section(
        "The driver alone",
        "From the prompt to the refined CoT, about 7 dependent calls a row. The driver journals "
        "every answer before it is used. The plain client keeps nothing.",
        (
            "size",
            "client",
            "calls",
            "s",
            "s at full load",
            "slots used",
            "half of the rows done at",
            "CPU ms a call",
            "memory grown by, MB",
        ),
        [_line(client, *size) for size in sizes for client in CLIENTS],
        [
            "CPU is what the system charges to the client. On this machine it charges "
            f"{wake_up_cost():.1f} times as much for the same work after 20 ms of sleep as "
            "without. A client with 64 calls of 1.3 s sleeps most of the time. One with calls of "
            "0.013 s never sleeps and limits the run: its CPU per call is what the work takes.",
        ],
    )


def _line(client: Client, rows: int, slots: int, pace: float) -> tuple[object, ...]:
    with (
        a_simulated_server(slots, pace) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        outcome = run_trial(client, server, rows, slots, Path(folder))
    return (
        f"{rows} rows, {describe_server(slots, pace)}",
        NAMES[client],
        outcome.stats["ok"],
        f"{outcome.seconds:.1f}",
        f"{outcome.stats['work_s'] / slots:.1f}",
        f"{outcome.used:.3f}",
        f"{outcome.half_at:.2f}",
        f"{outcome.cpu_ms:.2f}",
        f"{outcome.grown_mb:.0f}",
    )
