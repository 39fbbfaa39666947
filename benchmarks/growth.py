"""Time and memory as the dataset grows: batch after batch in one process, by the driver alone and by the pipeline."""

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.options import Options, Section
from benchmarks.server import a_simulated_server
from benchmarks.site import a_project, aidsafe, least_mb
from benchmarks.trial import trial

_BATCH_SIZE = 500
_SIZES = (500, 5_000, 50_000)
_PACE = 200.0
_FEW_CALLS: dict[str, dict[str, Any]] = {
    "pairs": {"iterations": 1, "candidates": 1},
    "grading": {"compared": 0.0},
}


def run(options: Options) -> Section:
    least, given = least_mb(), (options.rows,) if options.rows else None
    return Section(
        "Growth",
        f"Batches of {_BATCH_SIZE} rows, one after another in one process, against a server whose calls take a few "
        "milliseconds: so what is measured is the client. The pipeline is `aidsafe backfill`, with one iteration of "
        "one belief and no comparisons, to keep it short.",
        ("what", "rows", "calls", "s", "ms a row", "CPU ms a call", "memory grown by, MB"),
        [
            *(_driver(size, options.slots) for size in given or _SIZES),
            *(_pipeline(size, options.slots, least) for size in given or _SIZES),
        ],
        [
            "Memory of the driver is compared with that before its first call; that of the pipeline with the peak of a "
            f"run of 8 rows, {least:.0f} MB, which is what the libraries take.",
        ],
    )


def _driver(rows: int, slots: int) -> tuple[object, ...]:
    with a_simulated_server(slots, _PACE) as server, tempfile.TemporaryDirectory() as folder:
        seen = trial("driver", server, rows, slots, Path(folder), min(rows, _BATCH_SIZE))
    return _line(
        "the driver alone", rows, seen.stats["ok"], seen.seconds, seen.cpu_ms, seen.grown_mb
    )


def _pipeline(rows: int, slots: int, least: float) -> tuple[object, ...]:
    with (
        a_simulated_server(slots, _PACE) as server,
        a_project(server, slots, rows, min(rows, _BATCH_SIZE), **_FEW_CALLS) as folder,
    ):
        ended = aidsafe(folder, "backfill")
        calls = server.stats()["ok"]
    return _line(
        "the pipeline",
        rows,
        calls,
        ended.seconds,
        1000 * ended.cpu_s / calls,
        ended.peak_mb - least,
    )


def _line(
    what: str, rows: int, calls: int, seconds: float, cpu_ms: float, grown_mb: float
) -> tuple[object, ...]:
    return (
        what,
        f"{rows:,}",
        calls,
        f"{seconds:.0f}",
        f"{1000 * seconds / rows:.1f}",
        f"{cpu_ms:.2f}",
        f"{grown_mb:.0f}",
    )
