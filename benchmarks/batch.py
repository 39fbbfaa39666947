"""One batch through all its gated assets, in one Dagster run; killed in the middle; and made again from the journal."""

import os
import signal
import time
from pathlib import Path

from benchmarks.options import Options, Section
from benchmarks.server import a_simulated_server
from benchmarks.site import Ended, a_project, aidsafe, journaled, least_mb, started_aidsafe
from tests.serving import ModelServer

_BATCH = "prompts-0001"
_COLUMNS = (
    "run",
    "calls",
    "s",
    "of them before the first call",
    "s at full load",
    "slots used",
    "CPU s",
    "CPU ms a call",
    "memory above that of 8 rows, MB",
    "calls asked twice",
)


def run(options: Options) -> Section:
    rows = options.rows or 500
    least = least_mb()
    lines = [
        _whole("with reading ahead", rows, options, least, read_ahead=True),
        _whole("without", rows, options, least, read_ahead=False),
        _killed(rows, options, least),
    ]
    return Section(
        f"One batch in one Dagster run ({rows} rows, {options.server})",
        "`aidsafe backfill`: every stage an asset, every gate checked in between. Slots used are those between the "
        "server's first call and its last.",
        _COLUMNS,
        [line for pair in lines for line in pair],
        [
            "Made again, a batch is replayed from the journal: its time is that of Dagster, the gates and the replay.",
            f"A run of 8 rows takes {least:.0f} MB.",
        ],
    )


def _whole(
    name: str, rows: int, options: Options, least: float, *, read_ahead: bool
) -> list[tuple[object, ...]]:
    driver = {"read_ahead": read_ahead}
    with (
        a_simulated_server(options.slots, options.pace) as server,
        a_project(server, options.slots, rows, rows, driver=driver) as folder,
    ):
        server.control(reset=True)
        ended = aidsafe(folder, "backfill")
        first = _line(name, server, folder, ended, options, least)
        if not read_ahead:
            return [first]
        server.control(reset=True)
        again = aidsafe(folder, "backfill", _BATCH)
        return [first, _line("made again", server, folder, again, options, least)]


def _killed(rows: int, options: Options, least: float) -> list[tuple[object, ...]]:
    with (
        a_simulated_server(options.slots, options.pace) as server,
        a_project(server, options.slots, rows, rows) as folder,
    ):
        server.control(reset=True)
        process = started_aidsafe(folder, "backfill")
        while server.stats()["ok"] < 10 * rows:
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        kept = journaled(folder)
        server.control(reset=True)
        ended = aidsafe(folder, "backfill")
        return [
            _line(
                "killed in the middle: the second run", server, folder, ended, options, least, kept
            )
        ]


def _line(
    name: str,
    server: ModelServer,
    folder: Path,
    ended: Ended,
    options: Options,
    least: float,
    kept: int = 0,
) -> tuple[object, ...]:
    stats = server.stats()
    calls = stats["ok"]
    start = stats["since_reset_s"] - ended.seconds  # both clocks end now
    before = _first_call(server) - start if calls else ended.seconds
    return (
        name,
        calls,
        f"{ended.seconds:.1f}",
        f"{before:.1f}",
        f"{stats['work_s'] / options.slots:.1f}",
        f"{stats['utilisation']:.3f}" if calls else "–",
        f"{ended.cpu_s:.1f}",
        f"{1000 * ended.cpu_s / calls:.2f}" if calls else "–",
        f"{ended.peak_mb - least:.0f}",
        calls - (journaled(folder) - kept) if calls else 0,
    )


def _first_call(server: ModelServer) -> float:
    """Seconds from the reset to the first request."""
    return min(float(entry["t_in"]) for entry in server.log())
