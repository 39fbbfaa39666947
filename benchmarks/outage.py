"""The server goes down in the middle, and comes back."""

import tempfile
import threading
import time
from pathlib import Path

from benchmarks.options import Options, Section
from benchmarks.server import a_simulated_server
from benchmarks.trial import CLIENTS, NAMES, Client, run_trial
from tests.serving import ModelServer

SECONDS = 60


def run(options: Options) -> Section:
    rows = options.rows or 500
    return Section(
        f"An outage of {SECONDS} s ({rows} rows, {options.server})",
        "After a third of the calls, the server refuses all of them for a minute (503).",
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
        outage = threading.Thread(target=_start_outage, args=(server, 7 * rows // 3))
        outage.start()
        outcome = run_trial(client, server, rows, options.slots, Path(folder))
        outage.join()
    rest = outcome.seconds - SECONDS
    made = rows - outcome.digests.count("")
    refused = outcome.stats.get("outage", 0)
    return NAMES[client], f"{outcome.seconds:.1f}", f"{rest:.1f}", made, refused


def _start_outage(server: ModelServer, calls: int) -> None:
    while server.stats()["ok"] < calls:
        time.sleep(0.1)
    server.control(outage={"seconds": SECONDS, "kind": "503"})
