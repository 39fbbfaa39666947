"""One, two and three processes at the same batches: on one machine, and as hosts."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from benchmarks.options import Options, Section
from benchmarks.server import a_simulated_server
from benchmarks.several_hosts import (
    BATCHES,
    COLUMNS,
    IN_FLIGHT,
    PACES,
    PROCESSES,
    Line,
    Place,
    line,
    measure_hosts,
)
from benchmarks.site import journaled
from benchmarks.slot_claims import measure_claims
from tests.site import ROOT

_ROWS = 60
_CLUSTER_PYTHON = ROOT / ".venv-cluster" / "bin" / "python"
_MISSING = "`make .venv-cluster/ready` installs what they need"


def run(options: Options) -> Section:
    rows = options.rows or _ROWS
    lines = [*_on_one_machine(rows), *_as_hosts(rows), *_slot_claims()]
    return Section(
        "Several processes and hosts",
        f"One, two and three processes make the same {BATCHES} batches of {rows} rows, from the "
        f"prompt to the refined CoT, each with {IN_FLIGHT} calls at a time: the driver alone, "
        "behind the locks of the batches, without Dagster. On one machine they share a project, "
        "with SQLite, and its slots. A host is a process with a project folder of its own, and "
        "hosts share the journal and the locks in PostgreSQL. Hosts, database and model server are "
        "all on this machine and compete for its cores. Figures are those between the first and "
        "the last quarter of the calls, when all are at work.",
        COLUMNS,
        lines,
        [
            "Calls made twice: calls answered beyond the entries of the journal, which has one "
            "for each different request.",
            "Where the whole machine is as busy as it has cores, they are the limit, and a further "
            "process only takes from the others.",
            "The journal alone: processes that look up a call, find nothing and record an answer, "
            "64 at a time each, behind the lock of a batch; the database waits for the disk at "
            "each commit (`fsync`). Slot shares alone: claims of processes that do nothing else; "
            "a run claims four times a second. Hosts do not share slots.",
        ],
    )


def _on_one_machine(rows: int) -> Iterator[Line]:
    for pace in PACES:
        first = None
        for count in PROCESSES:
            slots = count * IN_FLIGHT
            with (
                a_simulated_server(slots, pace) as server,
                tempfile.TemporaryDirectory() as parent,
            ):
                folder = Path(parent)
                places = [Place(folder, {})] * count
                entries = partial(journaled, folder)
                load = measure_hosts(server, places, slots, rows, {}, entries)
            first = first or load
            yield line("SQLite, one machine", pace, count, load, first)


def _slot_claims() -> Iterator[Line]:
    first = None
    for count in PROCESSES:
        claims = measure_claims(count)
        first = first or claims.a_second
        yield (
            "slot shares alone, one machine: claims",
            "–",
            count,
            f"{claims.count:,}",
            "–",
            f"{claims.a_second:.0f}",
            f"{claims.a_second / first:.2f}",
            f"{1000 * claims.cpu_s / claims.count:.2f}",
            *_dashes(8),
        )


def _as_hosts(rows: int) -> Iterator[Line]:
    has_packages = find_spec("psycopg2") is not None
    python = sys.executable if has_packages else str(_CLUSTER_PYTHON)
    if not has_packages and not _CLUSTER_PYTHON.exists():
        yield "hosts with PostgreSQL", f"not measured: {_MISSING}", *_dashes(2)
        return
    process = subprocess.run(
        [python, "-m", "benchmarks.hosts_on_postgres", str(rows)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
    )
    for cells in json.loads(process.stdout.splitlines()[-1]):
        yield tuple(cells)


def _dashes(taken: int) -> list[str]:
    return ["–"] * (len(COLUMNS) - taken)
