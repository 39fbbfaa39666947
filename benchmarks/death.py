"""A client is killed (kill -9) when half of its calls are answered, and started again."""

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from benchmarks.options import Options, Section
from benchmarks.server import a_simulated_server
from benchmarks.trial import (
    CLIENTS,
    NAMES,
    Client,
    client_command,
    kill_after,
    run_trial,
)


def run(options: Options) -> Section:
    rows = options.rows or 500
    return Section(
        f"Death in the middle ({rows} rows, {options.server})",
        "Killed with kill -9 when about half of the calls were answered, then started again with "
        "the same command.",
        (
            "client",
            "answered before",
            "of them made again",
            "in flight, lost",
            "s before",
            "s after",
            "s at full load",
        ),
        [_line(client, rows, options) for client in CLIENTS],
        [
            "An answer that was on its way when the client died is lost with it. That does not "
            "count as a call made again."
        ],
    )


def _line(client: Client, rows: int, options: Options) -> tuple[object, ...]:
    slots = options.slots
    with (
        a_simulated_server(slots, options.pace) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        command = client_command(client, server, rows, slots, Path(folder))
        seconds = kill_after(3.5 * rows, command, server)
        kept, answered = _journaled(Path(folder)), server.stats()["ok"]
        outcome = run_trial(client, server, rows, slots, Path(folder))
    stats = outcome.stats
    # A client without a journal loses nothing on the way: it makes every call again.
    lost = answered - kept if kept else 0
    again = stats["redone"] - lost
    redone_share = stats["redone"] / stats["ok"]
    full_load_s = stats["work_s"] * (1 - redone_share) / slots
    return (
        NAMES[client],
        answered,
        max(0, again),
        lost,
        f"{seconds:.1f}",
        f"{outcome.seconds:.1f}",
        f"{full_load_s:.1f}",
    )


def _journaled(folder: Path) -> int:
    file = folder / "journal.sqlite"
    if not file.exists():
        return 0
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute("SELECT count(*) FROM completions").fetchone()[0])
