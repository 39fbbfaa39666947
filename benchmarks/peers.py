"""The driver and the pipeline beside the clients of others, on the same rows in the same run."""

import operator
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.options import Options, Section, describe_server
from benchmarks.server import a_simulated_server
from benchmarks.site import a_project, aidsafe, start_aidsafe
from benchmarks.trial import PEERS_READY, Client, client_command, kill_after, run_trial
from tests.serving import ModelServer

_BASE = "plain asyncio"
_PIPELINE = "the whole pipeline"
_CLIENTS: Mapping[str, Client] = {
    _BASE: "plain",
    "the driver": "driver",
    "datatrove": "datatrove",
}
_AT_ONCE = 1000.0
_MIDDLE = 10.0
"""Paces: calls of 1.3 ms, and of 0.13 s."""
_REPEATS = 3
"""Runs of some seconds each. The pipeline's take longer and are made once."""
_ROWS = 500
_CALLS_A_ROW = 7
_CALLS_A_ROW_OF_PIPELINE = 18
"""About so many."""
_MISSING = "It is not installed; `make .venv-peers/ready` does that"
Line = tuple[object, ...]


@dataclass(frozen=True)
class Run:
    """One run of a client, from its start or its first call to its end."""

    calls: int
    in_all: int
    """Calls answered so far, by this run and those before it in the same folder."""
    seconds: float
    used: float
    cpu_s: float
    digests: Sequence[str] = ()


@dataclass(frozen=True)
class Work:
    """A client at work in a folder of its own, which keeps what it has made."""

    run: Callable[[], Run]
    kill_after: Callable[[int], None]
    """Start it, and kill it once so many calls are answered."""


def run(options: Options) -> Section:
    rows = options.rows or _ROWS
    names = [_BASE, "the driver"]
    if PEERS_READY.exists():
        names.append("datatrove")
    at_once, again = _run_at_once(names, rows, options.slots)
    paced = _run_paced(names, rows, options.slots, options.pace)
    killed = _run_killed(names, rows, options.slots)
    needed = {name: run.calls for name, run in at_once.items()}
    slowly = describe_server(options.slots, options.pace)
    killed_on = describe_server(options.slots, _MIDDLE)
    lines = [
        *_lines("answered at once", at_once, rows, needed),
        *_lines(slowly, paced, rows, needed),
        *_lines("a second run, answered at once", again, rows, needed),
        *_lines(f"after a kill -9; {killed_on}", killed, rows, needed),
    ]
    if "datatrove" not in names:
        lines.append(("all", f"datatrove: not measured. {_MISSING}", *["–"] * 7))
    return Section(
        f"Peers ({rows} rows)",
        "The same rows against the same server, one client after another. The first three go from "
        "the prompt to the refined CoT, about 7 dependent calls a row, by the same dialogues. The "
        "whole pipeline is `aidsafe backfill`: it does more, with its further stages, Dagster, "
        "gates and reports. In brackets: as a multiple of plain asyncio in the same run.",
        (
            "what",
            "client",
            "calls",
            "calls made again",
            "s",
            "slots used",
            "CPU s",
            "CPU ms a row",
            "CPU ms a call",
        ),
        lines,
        _remarks(at_once),
    )


def _remarks(runs: Mapping[str, Run]) -> list[str]:
    remarks = [
        "CPU is what the system charges for user and system, children included: of the pipeline "
        "for the whole command, its start included, of the others from the first row on. The runs "
        f"that are answered at once are the median of {_REPEATS}, but for the pipeline. If the "
        "machine was busy otherwise, as the load average tells, read the ratios.",
        "Plain asyncio tries three times and keeps nothing. The driver journals every answer "
        "before it is used, shares the slots with other processes, and retries, slows down or "
        "stops as the server's answers ask for. datatrove puts every answer into a queue for its "
        "request cache, which commits one after another; rows go to checkpoints and to its "
        "output. To an endpoint on loopback it opens a connection per call.",
        "datatrove drops its cache once a chunk of rows is finished. Its second run passes over "
        "them: it makes no call and no row. The driver and the pipeline make all rows anew, from "
        "the journal.",
        "Killed when about half of the calls were answered, then run to the end. Calls made again "
        "are those of both runs beyond the calls of a run from nothing: answers that were on "
        "their way to the client, or not yet kept by it, when it was killed.",
    ]
    base = runs[_BASE].digests
    for name, run in runs.items():
        if run.digests and name != _BASE:
            same = sum(map(operator.eq, run.digests, base))
            remarks.append(
                f"{name}: {same} of {len(base)} rows have the text that {_BASE} made."
            )
    return remarks


def _run_at_once(
    names: Sequence[str], rows: int, slots: int
) -> tuple[dict[str, Run], dict[str, Run]]:
    """Return the runs from nothing, and second runs in the same folders."""
    first: dict[str, list[Run]] = {name: [] for name in names}
    second: dict[str, list[Run]] = {name: [] for name in names}
    for _ in range(_REPEATS):
        # One after another, so that what else the machine does meanwhile meets all alike.
        for name in names:
            with _a_client(name, rows, slots, _AT_ONCE) as work:
                first[name].append(work.run())
                second[name].append(work.run())
    with _a_pipeline(rows, slots, _AT_ONCE) as work:
        first[_PIPELINE] = [work.run()]
        second[_PIPELINE] = [work.run()]
    return _medians(first), _medians(second)


def _run_paced(
    names: Sequence[str], rows: int, slots: int, pace: float
) -> dict[str, Run]:
    runs = {}
    for name in names:
        with _a_client(name, rows, slots, pace) as work:
            runs[name] = work.run()
    with _a_pipeline(rows, slots, pace) as work:
        runs[_PIPELINE] = work.run()
    return runs


def _run_killed(names: Sequence[str], rows: int, slots: int) -> dict[str, Run]:
    """Return the runs that go on after one that was killed in the middle."""
    runs = {}
    for name in names:
        with _a_client(name, rows, slots, _MIDDLE) as work:
            work.kill_after(rows * _CALLS_A_ROW // 2)
            runs[name] = work.run()
    with _a_pipeline(rows, slots, _MIDDLE) as work:
        work.kill_after(rows * _CALLS_A_ROW_OF_PIPELINE // 2)
        runs[_PIPELINE] = work.run()
    return runs


@contextmanager
def _a_client(name: str, rows: int, slots: int, pace: float) -> Iterator[Work]:
    client = _CLIENTS[name]
    with (
        a_simulated_server(slots, pace) as server,
        tempfile.TemporaryDirectory() as folder,
    ):

        def run_once() -> Run:
            before = server.stats()
            outcome = run_trial(client, server, rows, slots, Path(folder))
            return _run_of(
                server, before, outcome.seconds, outcome.cpu_s, outcome.digests
            )

        def kill(calls: int) -> None:
            command = client_command(client, server, rows, slots, Path(folder))
            kill_after(calls, command, server)

        yield Work(run_once, kill)


@contextmanager
def _a_pipeline(rows: int, slots: int, pace: float) -> Iterator[Work]:
    with (
        a_simulated_server(slots, pace) as server,
        a_project(server, slots, rows, rows) as folder,
    ):
        server.control(reset=True)

        def run_once() -> Run:
            before = server.stats()
            process = aidsafe(folder, "backfill", "prompts-0001")
            return _run_of(server, before, process.seconds, process.cpu_s)

        def kill(calls: int) -> None:
            process = start_aidsafe(folder, "backfill", "prompts-0001")
            while server.stats()["ok"] < calls and process.poll() is None:
                time.sleep(0.05)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()

        yield Work(run_once, kill)


def _run_of(
    server: ModelServer,
    before: Mapping[str, float],
    seconds: float,
    cpu_s: float,
    digests: Sequence[str] = (),
) -> Run:
    stats = server.stats()
    slot_seconds = stats["slot_seconds"] - before["slot_seconds"]
    is_first = not before["ok"]
    return Run(
        calls=stats["ok"] - before["ok"],
        in_all=stats["ok"],
        seconds=seconds,
        used=stats["utilisation"]
        if is_first
        else slot_seconds / stats["capacity"] / seconds,
        cpu_s=cpu_s,
        digests=digests,
    )


def _medians(runs: Mapping[str, Sequence[Run]]) -> dict[str, Run]:
    """Return a run per client, each of its figures the median of its runs."""
    middle = {}
    for name, several in runs.items():
        middle[name] = Run(
            calls=round(median(run.calls for run in several)),
            in_all=round(median(run.in_all for run in several)),
            seconds=median(run.seconds for run in several),
            used=median(run.used for run in several),
            cpu_s=median(run.cpu_s for run in several),
            digests=several[0].digests,
        )
    return middle


def _lines(
    what: str, runs: Mapping[str, Run], rows: int, needed: Mapping[str, int]
) -> Iterator[Line]:
    base = runs[_BASE]
    for name, run in runs.items():
        a_call = "–"
        if run.calls and base.calls:
            a_call = _with_ratio(
                1000 * run.cpu_s / run.calls, 1000 * base.cpu_s / base.calls
            )
        yield (
            what,
            name,
            f"{run.calls:,}",
            f"{run.in_all - needed[name]:,}",
            _with_ratio(run.seconds, base.seconds),
            f"{run.used:.3f}" if run.calls else "–",
            f"{run.cpu_s:.1f}",
            _with_ratio(1000 * run.cpu_s / rows, 1000 * base.cpu_s / rows),
            a_call,
        )


def _with_ratio(figure: float, base: float) -> str:
    return f"{figure:.2f} (× {figure / base:.2f})"
