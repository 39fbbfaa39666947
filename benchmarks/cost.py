"""What the pipeline itself costs: CPU per run, per row made again, and per call."""

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from benchmarks.options import Options, Section
from benchmarks.server import a_simulated_server
from benchmarks.site import a_project, aidsafe
from tests.site import environment

_FEW = 8
_BATCH_SIZE = 500
_ROWS = 5_000
_PACE = 1000.0
Line = tuple[object, ...]


def run(options: Options) -> Section:
    rows = options.rows or _ROWS
    return Section(
        "The pipeline's own CPU",
        f"What the operating system charges to the client, user and system, children included. "
        f"The server answers at once, with answers of {options.length:g} times the usual length, "
        f"so that what is measured is the client. A run takes a batch of at most {_BATCH_SIZE} "
        "rows through all stages and gates.",
        ("what", "rows", "calls", "CPU s", "CPU ms a row", "CPU ms a call"),
        [*_fixed_cost(options), *_cost_of_rows(rows, options)],
        [
            "A cold process is a command from its start to its end: imports, the preview, the "
            "stages and the reports. A warm one has made a batch before, and its line is that of "
            "the run alone.",
            "Made again: every call is answered from the journal.",
        ],
    )


def _fixed_cost(options: Options) -> list[Line]:
    with (
        a_simulated_server(options.slots, _PACE, length=options.length) as server,
        a_project(server, options.slots, 2 * _FEW, _FEW) as folder,
    ):
        server.control(reset=True)
        cold = aidsafe(folder, "backfill", "prompts-0001")
        calls = server.stats()["ok"]
        again = aidsafe(folder, "backfill", "prompts-0001")
        warm = _warm_runs(folder, "prompts-0001", "prompts-0002")
        _, _, first, second = warm["make_batch"]
        return [
            _line("a cold process", _FEW, calls, cold.cpu_s),
            _line("a cold process, made again", _FEW, 0, again.cpu_s),
            _line("a warm process", _FEW, calls, first),
            _line("a warm process, made again", _FEW, 0, second),
            _line(
                "the reports in a warm process", 2 * _FEW, 0, warm["build_reports"][-1]
            ),
        ]


def _cost_of_rows(rows: int, options: Options) -> list[Line]:
    batch_size = min(rows, _BATCH_SIZE)
    with (
        a_simulated_server(options.slots, _PACE, length=options.length) as server,
        a_project(server, options.slots, rows, batch_size) as folder,
    ):
        server.control(reset=True)
        made = aidsafe(folder, "backfill")
        calls = server.stats()["ok"]
        again = aidsafe(folder, "backfill", "prompts-0001")
        warm = _warm_runs(folder, "prompts-0001")
        _, second = warm["make_batch"]
        return [
            _line("a cold process", rows, calls, made.cpu_s),
            _line("a cold process, made again", batch_size, 0, again.cpu_s),
            _line("a warm process, made again", batch_size, 0, second),
            _line("the reports in a warm process", rows, 0, warm["build_reports"][-1]),
        ]


def _warm_runs(folder: Path, *batches: str) -> dict[str, list[float]]:
    """Return the CPU seconds of each run of one process, by job."""
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.warm", *batches],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        check=True,
    )
    seconds = defaultdict[str, list[float]](list)
    for line in process.stdout.splitlines():
        run = json.loads(line)
        seconds[run["job"]].append(run["cpu_s"])
    return seconds


def _line(what: str, rows: int, calls: int, cpu_s: float) -> Line:
    return (
        what,
        f"{rows:,}",
        f"{calls:,}",
        f"{cpu_s:.1f}",
        f"{1000 * cpu_s / rows:.1f}",
        f"{1000 * cpu_s / calls:.2f}" if calls else "–",
    )
