"""Time and memory as the dataset grows, for the driver alone and for the pipeline."""

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.options import Options, Section
from benchmarks.server import a_simulated_server
from benchmarks.site import a_project, aidsafe, baseline_mb
from benchmarks.trial import run_trial

_BATCH_SIZE = 500
_SIZES = (500, 5_000, 50_000)
_PACE = 200.0
_FEW_CALLS: dict[str, dict[str, Any]] = {
    "pairs": {"iterations": 1, "candidates": 1},
    "grading": {"compared": 0.0},
}


def run(options: Options) -> Section:
    least_mb = baseline_mb()
    sizes = (options.rows,) if options.rows else _SIZES
    lines = [_run_driver(size, options.slots) for size in sizes]
    lines += [_run_pipeline(size, options.slots, least_mb) for size in sizes]
    return Section(
        "Growth",
        f"Batches of {_BATCH_SIZE} rows, one after another in one process. The server's calls take "
        "a few milliseconds, so what is measured is the client. The pipeline is `aidsafe "
        "backfill`, with one iteration of one belief and no comparisons, to keep it short.",
        (
            "what",
            "rows",
            "calls",
            "s",
            "ms a row",
            "CPU ms a call",
            "memory grown by, MB",
        ),
        lines,
        [
            "Memory of the driver is compared with that before its first call, and that of the "
            f"pipeline with the peak of a run of 8 rows, {least_mb:.0f} MB, which is what the "
            "libraries take.",
        ],
    )


def _run_driver(rows: int, slots: int) -> tuple[object, ...]:
    with (
        a_simulated_server(slots, _PACE) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        batch_size = min(rows, _BATCH_SIZE)
        outcome = run_trial("driver", server, rows, slots, Path(folder), batch_size)
    return _line(
        "the driver alone",
        rows,
        outcome.stats["ok"],
        outcome.seconds,
        outcome.cpu_ms,
        outcome.grown_mb,
    )


def _run_pipeline(rows: int, slots: int, least_mb: float) -> tuple[object, ...]:
    with (
        a_simulated_server(slots, _PACE) as server,
        a_project(server, slots, rows, min(rows, _BATCH_SIZE), **_FEW_CALLS) as folder,
    ):
        process = aidsafe(folder, "backfill")
        calls = server.stats()["ok"]
    return _line(
        "the pipeline",
        rows,
        calls,
        process.seconds,
        1000 * process.cpu_s / calls,
        process.peak_mb - least_mb,
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
