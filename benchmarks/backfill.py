"""A Dagster backfill of several batches. The daemon queues them and launches a process per run."""

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
_TIMEOUT_S = 1800.0


def run(options: Options) -> Section:
    rows = options.rows or 150
    with (
        a_simulated_server(options.slots, options.pace) as server,
        a_project(server, options.slots, _BATCHES * rows, rows) as folder,
        chdir(folder),  # paths in dagster.yaml are relative
        dg.DagsterInstance.from_config(str(folder)) as instance,
        _a_daemon(folder),
    ):
        requested_at = time.time()
        _request_backfill(folder)
        records = _wait_for_runs(instance)
        stats = server.stats()
        duplicates = stats["ok"] - journaled(folder)
    first_start = min(record.start_time or 0 for record in records)
    last_end = max(record.end_time or 0 for record in records)
    span = last_end - first_start
    run_seconds = 0.0
    failed = 0
    for record in records:
        run_seconds += (record.end_time or 0) - (record.start_time or 0)
        failed += record.dagster_run.status is not dg.DagsterRunStatus.SUCCESS
    full_load_s = stats["work_s"] / options.slots
    slots_used = stats["slot_seconds"] / options.slots / span
    return Section(
        f"A Dagster backfill of {_BATCHES} batches ({rows} rows each, {options.server})",
        "`dagster job backfill` with the daemon as shipped: three runs at a time, each a process "
        "of its own, sharing the server's slots.",
        ("what", ""),
        [
            ("calls", stats["ok"]),
            (
                "s from the request to the first run's start (daemon)",
                f"{first_start - requested_at:.1f}",
            ),
            ("s from the first run's start to the last one's end", f"{span:.1f}"),
            ("s at full load", f"{full_load_s:.1f}"),
            ("slots used in that time", f"{slots_used:.3f}"),
            (
                "slots used from the first call to the last",
                f"{stats['utilisation']:.3f}",
            ),
            ("runs at a time, on average", f"{run_seconds / span:.2f}"),
            ("most calls in flight", stats["peak_inflight"]),
            ("calls made twice", duplicates),
            ("runs that failed", failed),
        ],
    )


@contextmanager
def _a_daemon(folder: Path) -> Iterator[None]:
    command = [
        str(Path(sys.executable).with_name("dagster-daemon")),
        "run",
        "-w",
        "workspace.yaml",
    ]
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


def _request_backfill(folder: Path) -> None:
    command = [
        str(Path(sys.executable).with_name("dagster")),
        "job",
        "backfill",
        "-w",
        "workspace.yaml",
    ]
    arguments = ["-j", "make_batch", "--all", "all", "--noprompt"]
    subprocess.run(
        [*command, *arguments],
        cwd=folder,
        env=environment(folder),
        check=True,
        capture_output=True,
    )


def _wait_for_runs(instance: dg.DagsterInstance) -> Sequence[dg.RunRecord]:
    """Return the runs of the batches once all have ended."""
    deadline = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline:
        records = instance.get_run_records(dg.RunsFilter(job_name="make_batch"))
        finished = [record for record in records if record.dagster_run.is_finished]
        if len(finished) == _BATCHES:
            return finished
        time.sleep(1)
    raise TimeoutError(f"the backfill did not end in {_TIMEOUT_S:.0f} s")
