"""One batch in one Dagster run: from scratch, replayed from the journal, and after a kill."""

import os
import signal
import time
from pathlib import Path

from benchmarks.options import Options, Section
from benchmarks.server import a_simulated_server
from benchmarks.site import (
    FinishedProcess,
    a_project,
    aidsafe,
    baseline_mb,
    journaled,
    start_aidsafe,
)
from tests.serving import ModelServer

_BATCH = "prompts-0001"
_COLUMNS = (
    "run",
    "calls",
    "s",
    "s before the first call",
    "s at full load",
    "slots used",
    "CPU s",
    "CPU ms a call",
    "memory above that of 8 rows, MB",
    "calls made twice",
)


def run(options: Options) -> Section:
    rows = options.rows or 500
    least_mb = baseline_mb()
    lines = [
        *_run_whole("with read-ahead", rows, options, least_mb, read_ahead=True),
        *_run_whole("without", rows, options, least_mb, read_ahead=False),
        _run_killed(rows, options, least_mb),
    ]
    return Section(
        f"One batch in one Dagster run ({rows} rows, {options.server})",
        "`aidsafe backfill`: every stage is an asset, and every gate is checked in between. Slots "
        "used are those between the server's first call and its last.",
        _COLUMNS,
        lines,
        [
            "A batch that is made again is replayed from the journal: its time is that of Dagster, "
            "the gates and the replay.",
            f"A run of 8 rows takes {least_mb:.0f} MB.",
        ],
    )


def _run_whole(
    name: str, rows: int, options: Options, least_mb: float, *, read_ahead: bool
) -> list[tuple[object, ...]]:
    driver = {"read_ahead": read_ahead}
    with (
        a_simulated_server(options.slots, options.pace) as server,
        a_project(server, options.slots, rows, rows, driver=driver) as folder,
    ):
        server.control(reset=True)
        process = aidsafe(folder, "backfill")
        first = _line(name, server, folder, process, options, least_mb)
        if not read_ahead:
            return [first]
        server.control(reset=True)
        again = aidsafe(folder, "backfill", _BATCH)
        return [first, _line("made again", server, folder, again, options, least_mb)]


def _run_killed(rows: int, options: Options, least_mb: float) -> tuple[object, ...]:
    with (
        a_simulated_server(options.slots, options.pace) as server,
        a_project(server, options.slots, rows, rows) as folder,
    ):
        server.control(reset=True)
        process = start_aidsafe(folder, "backfill")
        while server.stats()["ok"] < 10 * rows:
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        kept = journaled(folder)
        server.control(reset=True)
        second = aidsafe(folder, "backfill")
        name = "killed in the middle: the second run"
        return _line(name, server, folder, second, options, least_mb, kept)


def _line(
    name: str,
    server: ModelServer,
    folder: Path,
    process: FinishedProcess,
    options: Options,
    least_mb: float,
    kept: int = 0,
) -> tuple[object, ...]:
    stats = server.stats()
    calls = stats["ok"]
    # Both clocks end now, so the process started this long after the server's reset.
    start = stats["since_reset_s"] - process.seconds
    before = _first_call(server) - start if calls else process.seconds
    duplicates = calls - (journaled(folder) - kept) if calls else 0
    return (
        name,
        calls,
        f"{process.seconds:.1f}",
        f"{before:.1f}",
        f"{stats['work_s'] / options.slots:.1f}",
        f"{stats['utilisation']:.3f}" if calls else "–",
        f"{process.cpu_s:.1f}",
        f"{1000 * process.cpu_s / calls:.2f}" if calls else "–",
        f"{process.peak_mb - least_mb:.0f}",
        duplicates,
    )


def _first_call(server: ModelServer) -> float:
    """Return the seconds from the reset to the first request."""
    return min(float(entry["t_in"]) for entry in server.log())
