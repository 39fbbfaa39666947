"""Servers that fail: rows lost, and time."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.options import Options, Section
from benchmarks.server import a_simulated_server, faults
from benchmarks.trial import CLIENTS, NAMES, Outcome, trial

_SERVERS = {
    "sound": {},
    "5 % of the calls fail at first": faults(0.05),
    "20 % of the calls fail at first": faults(0.20),
    "0.3 % of the calls fail for ever": {"poison": 0.003},
}


def run(options: Options) -> Section:
    rows = options.rows or 500
    lines = list[tuple[object, ...]]()
    for client in CLIENTS:
        outcomes = {
            name: _outcome(client, planted, rows, options) for name, planted in _SERVERS.items()
        }
        lines += _lines(NAMES[client], outcomes, rows)
    return Section(
        f"Faults ({rows} rows, {options.server})",
        "Planted in equal parts: 429, 500, broken connections, cut bodies, cut answers, empty answers, answers cut at "
        "the token limit. Right is a row that says, to the letter, what it says on a sound server.",
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
            "With calls that fail for ever, so many rows are doomed, for every client; `rows lost` holds them.",
            "The plain client tries three times, checks what HTTP tells it, and takes a cut answer for an answer.",
        ],
    )


def _lines(client: str, outcomes: dict[str, Outcome], rows: int) -> Iterator[tuple[object, ...]]:
    sound = outcomes["sound"]
    for name, outcome in outcomes.items():
        right, lost = outcome.right(sound.digests), outcome.digests.count("")
        ratio = f"{outcome.seconds / sound.seconds:.2f}"
        yield client, name, f"{outcome.seconds:.1f}", ratio, right, lost, rows - right - lost


def _outcome(client: str, planted: dict[str, float], rows: int, options: Options) -> Outcome:
    with (
        a_simulated_server(options.slots, options.pace, planted) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        return trial(client, server, rows, options.slots, Path(folder))  # type: ignore[arg-type]
