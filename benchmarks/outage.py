"""The server goes away in the middle, and comes back."""

import tempfile
import threading
import time
from pathlib import Path

from benchmarks.options import Options, Section
from benchmarks.server import a_simulated_server
from benchmarks.trial import CLIENTS, NAMES, Client, trial
from tests.serving import ModelServer

SECONDS = 60


def run(options: Options) -> Section:
    rows = options.rows or 500
    return Section(
        f"An outage of {SECONDS} s ({rows} rows, {options.server})",
        "When a third of the calls is answered the server takes none for a minute (503), and then all again.",
        (
            "client",
            "s",
            "s without the outage and its minute",
            "rows made",
            "requests in the minute",
        ),
        [_line(client, rows, options) for client in CLIENTS],
    )


def _line(client: Client, rows: int, options: Options) -> tuple[object, ...]:
    with (
        a_simulated_server(options.slots, options.pace) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        breaking = threading.Thread(target=_break, args=(server, 7 * rows // 3))
        breaking.start()
        outcome = trial(client, server, rows, options.slots, Path(folder))
        breaking.join()
    rest = f"{outcome.seconds - SECONDS:.1f}"
    made = rows - outcome.digests.count("")
    return NAMES[client], f"{outcome.seconds:.1f}", rest, made, outcome.stats.get("outage", 0)


def _break(server: ModelServer, calls: int) -> None:
    while server.stats()["ok"] < calls:
        time.sleep(0.1)
    server.control(outage={"seconds": SECONDS, "kind": "503"})
