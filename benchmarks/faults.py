"""Servers with faults: rows lost, and time."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.options import Options, Section
from benchmarks.server import a_simulated_server, faults
from benchmarks.trial import CLIENTS, NAMES, Client, Outcome, run_trial

_SERVERS = {
    "sound": {},
    "5 % of the calls fail at first": faults(0.05),
    "20 % of the calls fail at first": faults(0.20),
    "0.3 % of the calls always fail": {"poison": 0.003},
}


def run(options: Options) -> Section:
    rows = options.rows or 500
    lines: list[tuple[object, ...]] = []
    for client in CLIENTS:
        outcomes = {}
        for name, planted in _SERVERS.items():
            outcomes[name] = _run(client, planted, rows, options)
        lines += _lines(NAMES[client], outcomes, rows)
    return Section(
        f"Faults ({rows} rows, {options.server})",
        "Planted in equal parts: 429, 500, broken connections, cut bodies, cut answers, empty "
        "answers, answers cut at the token limit. A row is right if its text is exactly the same "
        "as on a sound server.",
        (
            "client",
            "server",
            "s",
            "times the sound one",
            "rows right",
            "rows lost",
            "wrong rows delivered",
        ),
        lines,
        [
            "Rows with calls that always fail are lost for every client. `rows lost` includes "
            "them.",
            "The plain client makes three attempts, checks the HTTP status, and accepts cut "
            "answers.",
        ],
    )


def _lines(
    client: str, outcomes: dict[str, Outcome], rows: int
) -> Iterator[tuple[object, ...]]:
    sound = outcomes["sound"]
    for name, outcome in outcomes.items():
        right = outcome.count_right(sound.digests)
        lost = outcome.digests.count("")
        wrong = rows - right - lost
        ratio = outcome.seconds / sound.seconds
        yield client, name, f"{outcome.seconds:.1f}", f"{ratio:.2f}", right, lost, wrong


def _run(
    client: Client, planted: dict[str, float], rows: int, options: Options
) -> Outcome:
    with (
        a_simulated_server(options.slots, options.pace, planted) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        return run_trial(client, server, rows, options.slots, Path(folder))
