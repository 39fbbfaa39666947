"""The wall clock is set while a run goes on, and the run is still known to live."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from aidsafe_dagster.runs.liveness import report_dead_runs
from aidsafe_dagster.runs.process_tags import PROCESS_TAG, this_process
from tests.site import a_site, environment

REPORTS_DEAD_RUNS = """
import sys
import psutil
psutil.PROCFS_PATH = sys.argv[1]
from aidsafe_dagster.runs.liveness import report_dead_runs
from aidsafe_dagster.cli.local_runs import open_instance
with open_instance() as instance:
    print(psutil.boot_time(), len(report_dead_runs(instance)))
"""
"""To the kernel, a clock that is set is a machine that was booted at another time."""


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux tells the time of booting in a file"
)
def test_a_run_that_lives_is_not_reported_as_dead_after_the_clock_was_set(tmp_path: Path) -> None:
    with a_site(tmp_path / "site") as site:
        from aidsafe_dagster.definitions import defs

        run = site.instance.create_run_for_job(
            defs.resolve_job_def("make_batch"),
            status=dg.DagsterRunStatus.STARTED,
            tags={PROCESS_TAG: this_process()},
        )
        assert report_dead_runs(site.instance) == []
        booted, dead = told_after_the_clock_was_set(site.folder, tmp_path / "proc", 3_600)
        assert (booted, dead) == (real_boot_time() + 3_600, 0)
        site.instance.report_run_canceled(run)


def told_after_the_clock_was_set(folder: Path, proc: Path, seconds: int) -> tuple[float, int]:
    """What another process sees: when the machine was booted, and how many runs it reports as dead."""
    proc.mkdir()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            (proc / entry.name).symlink_to(entry)
    lines = Path("/proc/stat").read_text().splitlines()
    moved = [
        f"btime {real_boot_time() + seconds}" if line.startswith("btime") else line
        for line in lines
    ]
    (proc / "stat").write_text("\n".join(moved) + "\n")
    command = [sys.executable, "-c", REPORTS_DEAD_RUNS, str(proc)]
    said = subprocess.run(
        command, cwd=folder, env=environment(folder), capture_output=True, text=True, check=True
    )
    booted, dead = said.stdout.split()
    return float(booted), int(dead)


def real_boot_time() -> int:
    (line,) = (
        line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime")
    )
    return int(line.split()[1])
