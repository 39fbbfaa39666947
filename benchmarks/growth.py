"""Time and memory as the dataset grows: batch after batch through the whole pipeline, in one process."""

from typing import Any

from benchmarks.options import Options, Section
from benchmarks.server import a_simulated_server
from benchmarks.site import a_project, aidsafe, least_mb

_BATCH_SIZE = 500
_SIZES = [500, 5_000, 50_000]
_PACE = 200.0
_FEW_CALLS: dict[str, dict[str, Any]] = {"pairs": {"iterations": 1, "candidates": 1}, "grading": {"compared": 0.0}}


def run(options: Options) -> Section:
    least = least_mb()
    sizes = [size for size in _SIZES if size < (options.rows or 0)] + [options.rows] if options.rows else _SIZES
    return Section(
        "Growth",
        f"Batches of {_BATCH_SIZE} rows, one after another in one process (`aidsafe backfill`), against a server whose "
        "calls take a few milliseconds: so what is measured is the pipeline. One iteration of one belief and no "
        "comparisons, to keep it short.",
        ("rows", "calls", "s", "ms a row", "CPU s", "CPU ms a call", "memory above that of 8 rows, MB"),
        [_line(size, options, least) for size in sizes],
        [f"A run of 8 rows takes {least:.0f} MB."],
    )


def _line(rows: int, options: Options, least: float) -> tuple[object, ...]:
    with (
        a_simulated_server(options.slots, _PACE) as server,
        a_project(server, options.slots, rows, min(rows, _BATCH_SIZE), **_FEW_CALLS) as folder,
    ):
        ended = aidsafe(folder, "backfill")
        calls = server.stats()["ok"]
    return (
        f"{rows:,}",
        calls,
        f"{ended.seconds:.0f}",
        f"{1000 * ended.seconds / rows:.1f}",
        f"{ended.cpu_s:.0f}",
        f"{1000 * ended.cpu_s / calls:.2f}",
        f"{ended.peak_mb - least:.0f}",
    )
