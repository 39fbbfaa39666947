"""The wall clock is set while a run goes on, and the run still counts as alive."""

import re
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
"""A clock that is set looks, in /proc, like a machine that was booted at another time."""


@pytest.mark.skipif(
    not sys.platform.startswith("linux"),
    reason="only Linux has the time of booting in a file",
)
def test_a_living_run_is_not_reported_as_dead_after_the_clock_was_set(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path / "site") as site:
        from aidsafe_dagster.definitions import defs

        run = site.instance.create_run_for_job(
            defs.resolve_job_def("make_batch"),
            status=dg.DagsterRunStatus.STARTED,
            tags={PROCESS_TAG: this_process()},
        )
        assert report_dead_runs(site.instance) == []
        boot_time, dead_runs = look_after_the_clock_was_set(
            site.folder, tmp_path / "proc", 3_600
        )
        assert boot_time == real_boot_time() + 3_600
        assert dead_runs == 0
        site.instance.report_run_canceled(run)


def look_after_the_clock_was_set(
    folder: Path, proc: Path, seconds: int
) -> tuple[float, int]:
    """The boot time and the number of dead runs, as another process sees them."""
    proc.mkdir()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            (proc / entry.name).symlink_to(entry)
    real = real_boot_time()
    stat = Path("/proc/stat").read_text()
    (proc / "stat").write_text(
        stat.replace(f"btime {real}\n", f"btime {real + seconds}\n")
    )
    command = [sys.executable, "-c", REPORTS_DEAD_RUNS, str(proc)]
    completed = subprocess.run(
        command,
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=True,
    )
    boot_time, dead_runs = completed.stdout.split()
    return float(boot_time), int(dead_runs)


def real_boot_time() -> int:
    match = re.search(r"^btime (\d+)$", Path("/proc/stat").read_text(), re.MULTILINE)
    assert match
    return int(match[1])
