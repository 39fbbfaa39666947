"""Ctrl-C, SIGTERM, a run that a person cancels, and a batch that is lost, over several batches."""

import fcntl
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import dagster as dg
import pytest

from aidsafe_dagster.runs.locks import batch_lock
from aidsafe_dagster.runs.process_tags import STOPPED_TAG
from tests.faults.commands import (
    is_running,
    processes_of,
    served_by,
    wait_until,
)
from tests.faults.test_killed import count_journaled
from tests.serving import ModelServer, a_model_server
from tests.site import (
    Site,
    a_site,
    aidsafe_process,
    environment,
    prompts_file,
    some_prompts,
)

SAFE = "Answers are recorded; the same command goes on from there."
BACKFILL = """
import os, sys
class Watcher:
    def find_spec(self, name, path=None, target=None):
        if os.path.exists("signalled"):
            print("imported late:", name, flush=True)
sys.meta_path.insert(0, Watcher())
from aidsafe_dagster.cli.app import app
app(["backfill"])
"""
CONTROLS = re.compile(r"\x1b\[[?\d;]*[A-Za-z]")
"""What a progress bar moves the cursor with, and colours."""
Command = subprocess.Popen[str]


@contextmanager
def a_filled_site(folder: Path) -> Iterator[tuple[Site, ModelServer]]:
    """A site with two batches of six prompts, and its model server."""
    with a_model_server(folder) as server:
        settings = served_by(server) | {"ingest": {"batch_size": 6}}
        with a_site(folder / "site", **settings) as site:
            site.ingest(prompts_file(site.folder, some_prompts(12)))
            yield site, server


@contextmanager
def a_backfill(
    site: Site, server: ModelServer, calls: int, sigint: signal.Handlers
) -> Iterator[Command]:
    """A backfill that has had so many answers."""
    with subprocess.Popen(
        [sys.executable, "-c", BACKFILL],
        cwd=site.folder,
        env=environment(site.folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, sigint),  # noqa: PLW1509
    ) as command:
        try:
            wait_until(lambda: server.stats()["ok"] >= calls, is_running(command))
            yield command
        finally:
            command.kill()


def output_of(command: Command) -> list[str]:
    output, _ = command.communicate(timeout=60)
    lines: list[str] = output.splitlines()
    return [line for line in lines if line.strip()]


def runs_of(site: Site) -> list[dg.DagsterRun]:
    return list(site.instance.get_runs(dg.RunsFilter(job_name="make_batch")))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_ends_all_batches_and_the_same_command_goes_on(
    tmp_path: Path, number: signal.Signals
) -> None:
    with a_filled_site(tmp_path) as (site, server):
        with a_backfill(site, server, 20, signal.SIG_DFL) as command:
            (site.folder / "signalled").touch()
            command.send_signal(number)
            *_, last = lines = output_of(command)
        assert command.returncode == 128 + number
        assert last == f"Stopped by {number.name}. {SAFE}"
        assert not [line for line in lines if line.startswith(("✓", "✗"))], lines
        (run,) = runs_of(site)
        assert run.is_finished
        # So that a daemon does not start the batch again.
        assert run.tags[STOPPED_TAG] == run.run_id
        assert processes_of(site.folder) == []
        recorded = count_journaled(site.folder)
        server.control(reset=True)
        finished = aidsafe_process(site.folder, "backfill")
        assert finished.returncode == 0, finished.stdout
        assert server.stats()["ok"] == count_journaled(site.folder) - recorded


@contextmanager
def a_terminal(*command: str, site: Site) -> Iterator[tuple[Command, int, bytearray]]:
    """A command at a terminal of its own: the process, the terminal and what it shows."""
    terminal, device = pty.openpty()
    with subprocess.Popen(
        command,
        cwd=site.folder,
        env=environment(site.folder, TERM="xterm", COLUMNS="80"),
        stdin=device,
        stdout=device,
        stderr=device,
        start_new_session=True,
        text=True,
        preexec_fn=_take_terminal,  # noqa: PLW1509
    ) as process:
        os.close(device)
        shown = bytearray()
        reader = threading.Thread(target=_read_all, args=(terminal, shown))
        reader.start()
        try:
            yield process, terminal, shown
        finally:
            process.kill()
            # It ends once no process has the terminal open.
            reader.join(30)
            os.close(terminal)


def _take_terminal() -> None:
    """Let the keys of the terminal reach this process and its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _read_all(terminal: int, shown: bytearray) -> None:
    # Linux answers with an error once the other end is closed.
    with suppress(OSError):
        while piece := os.read(terminal, 4096):
            shown.extend(piece)


@pytest.mark.slow
@pytest.mark.parametrize("calls", [1, 20, 90])
def test_ctrl_c_at_a_terminal_shows_one_line_and_leaves_no_process(
    tmp_path: Path, calls: int
) -> None:
    with a_filled_site(tmp_path) as (site, server):
        aidsafe = str(Path(sys.executable).with_name("aidsafe"))
        with a_terminal(aidsafe, "backfill", "--yes", site=site) as (
            command,
            terminal,
            shown,
        ):
            is_alive = is_running(command)
            wait_until(lambda: server.stats().get("ok", 0) >= calls, is_alive)
            os.write(terminal, b"\x03")
            assert command.wait(30) == 128 + signal.SIGINT
        _, _, after = CONTROLS.sub("", shown.decode()).partition("^C")
        assert "Traceback" not in after
        # What comes before is the last of the live view.
        *_, view, last = after.splitlines()
        assert last == f"Stopped by SIGINT. {SAFE}"
        assert "stopped at stage" in view
        assert "✗" not in after
        assert processes_of(site.folder) == []


@pytest.mark.slow
def test_where_sigint_is_ignored_a_cancelled_run_ends_and_its_command_with_it(
    tmp_path: Path,
) -> None:
    with a_filled_site(tmp_path) as (site, server):
        with a_backfill(site, server, 1, signal.SIG_IGN) as command:
            server.control(outage={"seconds": 600, "kind": "503"})
            command.send_signal(signal.SIGINT)
            (run,) = runs_of(site)
            site.instance.report_run_canceling(run)
            lines = output_of(command)
        assert command.returncode == 1, lines
        assert any(f"This run was cancelled. {SAFE}" in line for line in lines)
        assert [run.status for run in runs_of(site)] == [dg.DagsterRunStatus.CANCELED]


@pytest.mark.slow
def test_a_paused_command_whose_batch_another_one_took_writes_nothing_more(
    tmp_path: Path,
) -> None:
    with (
        a_filled_site(tmp_path) as (site, server),
        a_backfill(site, server, 20, signal.SIG_IGN) as command,
    ):
        # From now on a call takes a second: there is a moment in which nothing is written.
        server.control(server={"prefill_base_s": 1.0})
        wait_until_unchanged(lambda: count_journaled(site.folder))
        pause(command)
        recorded = count_journaled(site.folder)
        files = files_of(site)
        # Answers arrive meanwhile, and wait for the command.
        time.sleep(1.5)
        lock = batch_lock("mine-0001", site.settings)
        # As when the locks are cleared away: here, what a host is that was given up as dead.
        (site.folder / "data" / "locks" / "mine-0001.lock").unlink()
        with lock.hold("another host"):
            command.send_signal(signal.SIGCONT)
            lines = output_of(command)
            assert command.returncode == 1, lines
            assert any("lost its batch to another process" in line for line in lines)
            assert count_journaled(site.folder) == recorded
            assert files_of(site) == files


def wait_until_unchanged(count: Callable[[], int]) -> None:
    """Wait until a count has stayed the same for a moment."""
    before = -1
    deadline = time.monotonic() + 30
    while (now := count()) != before:
        assert time.monotonic() < deadline
        before = now
        time.sleep(0.3)


def pause(process: subprocess.Popen[str]) -> None:
    """Stop a process, and wait until each of its threads stands still: some go on for a while."""
    process.send_signal(signal.SIGSTOP)
    deadline = time.monotonic() + 30
    while not all(map(is_stopped, Path(f"/proc/{process.pid}/task").iterdir())):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_stopped(task: Path) -> bool:
    """Tell whether a thread is stopped, by its folder in /proc."""
    state = (task / "stat").read_text().rpartition(")")[2].split()[0]
    return state == "T"


def files_of(site: Site) -> dict[str, int]:
    """When each file of the batch's stages was written, in nanoseconds."""
    files = (site.folder / "data" / "lake").rglob("batch=mine-0001/[!.]*")
    return {str(file): file.stat().st_mtime_ns for file in files}
