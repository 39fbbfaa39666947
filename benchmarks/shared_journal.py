"""The journal in PostgreSQL alone: how many calls a second several processes look up and record."""

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.several import CpuMeter
from benchmarks.several_hosts import read_line, tell
from tests.distributed.postgres import Postgres
from tests.site import ROOT

_CALLS = 20_000


@dataclass(frozen=True)
class JournalLoad:
    """What processes did in a journal, and what it took."""

    calls: int
    entries: int
    seconds: float
    clients_s: float
    """CPU seconds of the processes."""
    postgres_s: float
    """CPU seconds of the database server."""


def measure_journal(
    postgres: Postgres, processes: int, at_a_time: int, calls: int = _CALLS
) -> JournalLoad:
    """Let processes record so many calls in all, each with so many in flight."""
    database = f"journal_of_{processes}"
    postgres.create_database(database)
    url = postgres.url(database)
    share = calls // processes
    with ExitStack() as stack:
        clients = []
        for number in range(processes):
            command = [sys.executable, "-m", "benchmarks.journal_client"]
            arguments = [url, database, f"client-{number}", str(share), str(at_a_time)]
            client = subprocess.Popen(
                [*command, *arguments],
                cwd=ROOT,
                env=os.environ | {"PGPASSWORD": postgres.password},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            clients.append(stack.enter_context(client))
        for client in clients:
            read_line(client)
        meter = CpuMeter({"PostgreSQL": [postgres.pid]})
        before = meter.spent()["PostgreSQL"]
        for client in clients:
            tell(client)
        figures = [read_line(client) for client in clients]
        # A connection has a process of the server, and its CPU is forgotten with it.
        spent = meter.spent()["PostgreSQL"] - before
        for client in clients:
            tell(client)
    ((entries,),) = postgres.rows("SELECT count(*) FROM completions", database)
    return _load_of(figures, share * processes, int(entries), spent)


def _load_of(
    figures: Sequence[str], calls: int, entries: int, postgres_s: float
) -> JournalLoad:
    seconds, clients_s = [], 0.0
    for line in figures:
        took, cpu_s = line.split()
        seconds.append(float(took))
        clients_s += float(cpu_s)
    return JournalLoad(calls, entries, max(seconds), clients_s, postgres_s)
