"""Hosts that share PostgreSQL, and the journal there alone.

It prints the lines of the table as JSON. It needs the environment of `make .venv-cluster/ready`
and Debian's PostgreSQL (`scripts/install-postgresql`).

python -m benchmarks.hosts_on_postgres ROWS_A_BATCH
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.server import a_simulated_server
from benchmarks.several_hosts import (
    COLUMNS,
    IN_FLIGHT,
    PACES,
    POSTGRES,
    PROCESSES,
    Line,
    Place,
    line,
    measure_hosts,
)
from benchmarks.shared_journal import measure_journal
from tests.distributed.postgres import Postgres, a_postgres

_AT_A_TIME = 64
_MISSING = (
    "not measured: PostgreSQL is missing; `scripts/install-postgresql` installs it"
)


def lines(rows: int) -> Iterator[Line]:
    if not has_postgres():
        yield "hosts with PostgreSQL", _MISSING, *["–"] * (len(COLUMNS) - 2)
        return
    with a_postgres(durable=True) as postgres:
        for pace in PACES:
            yield from _hosts(postgres, rows, pace)
        yield from _journal_alone(postgres)


def has_postgres() -> bool:
    packaged = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    return shutil.which("initdb") is not None or any(packaged)


def _hosts(postgres: Postgres, rows: int, pace: float) -> Iterator[Line]:
    first = None
    for count in PROCESSES:
        database = f"hosts_{count}_at_{pace:.0f}"
        postgres.create_database(database)
        url = postgres.url(database)
        with (
            a_simulated_server(count * IN_FLIGHT, pace) as server,
            tempfile.TemporaryDirectory() as parent,
        ):
            variables = {
                "AIDSAFE_JOURNAL_URL": url,
                # The locks are those of one lake.
                "AIDSAFE_LAKE_URL": f"{parent}/lake",
                "PGPASSWORD": postgres.password,
            }
            places = []
            for number in range(count):
                folder = Path(parent) / f"host-{number}"
                folder.mkdir()
                places.append(Place(folder, variables))
            groups = {POSTGRES: [postgres.pid]}
            entries = partial(_entries, postgres, database)
            load = measure_hosts(server, places, IN_FLIGHT, rows, groups, entries)
        first = first or load
        yield line("PostgreSQL, hosts", pace, count, load, first)


def _entries(postgres: Postgres, database: str) -> int:
    ((count,),) = postgres.rows("SELECT count(*) FROM completions", database)
    return int(count)


def _journal_alone(postgres: Postgres) -> Iterator[Line]:
    first = None
    for count in PROCESSES:
        load = measure_journal(postgres, count, _AT_A_TIME)
        rate = load.calls / load.seconds
        first = first or rate
        yield (
            "the journal alone, PostgreSQL",
            "–",
            count,
            f"{load.calls:,}",
            load.calls - load.entries,
            f"{rate:.0f}",
            f"{rate / first:.2f}",
            f"{1000 * load.clients_s / load.calls:.2f}",
            "–",
            f"{1000 * load.postgres_s / load.calls:.2f}",
            f"{(load.clients_s + load.postgres_s) / load.seconds:.2f}",
            "–",
        )


if __name__ == "__main__":
    table = list(lines(int(sys.argv[1])))
    sys.stdout.write(json.dumps(table) + "\n")
