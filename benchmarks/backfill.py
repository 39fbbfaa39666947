"""A Dagster backfill of several batches: the daemon queues and launches a process per run."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path

import dagster as dg

from benchmarks.options import Options, Section
from benchmarks.server import a_simulated_server
from benchmarks.site import a_project, journaled
from tests.site import environment

_BATCHES = 8
_LIMIT_S = 1800.0


def run(options: Options) -> Section:
    rows = options.rows or 150
    with (
        a_simulated_server(options.slots, options.pace) as server,
        a_project(server, options.slots, _BATCHES * rows, rows) as folder,
        chdir(folder),  # paths in dagster.yaml are relative
        dg.DagsterInstance.from_config(str(folder)) as instance,
        _a_daemon(folder),
    ):
        asked = time.time()
        _ask_for_all(folder)
        records = _finished(instance)
        stats = server.stats()
        twice = stats["ok"] - journaled(folder)
    starts, ends = [r.start_time or 0 for r in records], [r.end_time or 0 for r in records]
    span = max(ends) - min(starts)
    alone = sum(end - start for start, end in zip(starts, ends, strict=True))
    failed = [
        r.dagster_run.run_id
        for r in records
        if r.dagster_run.status is not dg.DagsterRunStatus.SUCCESS
    ]
    return Section(
        f"A Dagster backfill of {_BATCHES} batches ({rows} rows each, {options.server})",
        "`dagster job backfill` with the daemon as shipped: three runs at a time, each a process of its own, sharing "
        "the server's slots.",
        ("what", ""),
        [
            ("calls", stats["ok"]),
            ("s from asking to the first run's start: the daemon", f"{min(starts) - asked:.1f}"),
            ("s from the first run's start to the last one's end", f"{span:.1f}"),
            ("s at full load", f"{stats['work_s'] / options.slots:.1f}"),
            ("slots used in that time", f"{stats['slot_seconds'] / options.slots / span:.3f}"),
            ("slots used from the first call to the last", f"{stats['utilisation']:.3f}"),
            ("runs at a time, on average", f"{alone / span:.2f}"),
            ("calls in flight at the most", stats["peak_inflight"]),
            ("calls asked twice", twice),
            ("runs that failed", len(failed)),
        ],
    )


@contextmanager
def _a_daemon(folder: Path) -> Iterator[None]:
    command = [str(Path(sys.executable).with_name("dagster-daemon")), "run", "-w", "workspace.yaml"]
    with (folder / "daemon.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(folder),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _ask_for_all(folder: Path) -> None:
    command = [
        str(Path(sys.executable).with_name("dagster")),
        "job",
        "backfill",
        "-w",
        "workspace.yaml",
    ]
    arguments = ["-j", "make_batch", "--all", "all", "--noprompt"]
    subprocess.run(
        [*command, *arguments], cwd=folder, env=environment(folder), check=True, capture_output=True
    )


def _finished(instance: dg.DagsterInstance) -> Sequence[dg.RunRecord]:
    """The runs of the batches, once all have ended."""
    deadline = time.monotonic() + _LIMIT_S
    while time.monotonic() < deadline:
        records = instance.get_run_records(dg.RunsFilter(job_name="make_batch"))
        if len(records) == _BATCHES and all(record.dagster_run.is_finished for record in records):
            return records
        time.sleep(1)
    raise TimeoutError(f"the backfill did not end in {_LIMIT_S:.0f} s")
