"""What a backfill shows of a run while it goes on."""

import io
import os
import pty
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from aidsafe_dagster.cli.live_run import LiveRun
from aidsafe_dagster.engines.driver.pace import Pace
from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.recipe.records import Stage, Usage
from aidsafe_dagster.recipe.stages import always_made
from aidsafe_dagster.reports.outlook import Outlook, make_outlook
from aidsafe_dagster.reports.planning import MeasuredSample, RowUsage
from aidsafe_dagster.stages.progress_log import Reading
from tests.site import a_site, prompts_file, some_prompts

NOTHING_MEASURED = Outlook(0, simulated=False, stages={})
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def a_live_run(outlook: Outlook = NOTHING_MEASURED, currency: str = "EUR") -> LiveRun:
    stages = tuple(map(str, always_made()))
    live_run = LiveRun("mine-0001", "2 of 4", stages, 10, outlook, currency)
    live_run.note_step("seed_cots")
    return live_run


def a_reading(progress: Progress, *, is_over: bool = False) -> Reading:
    return Reading("seed_cots mine-0001", progress, Pace(progress), is_over=is_over)


def test_a_line_has_rows_failures_calls_tokens_and_money() -> None:
    live_run = a_live_run()
    usage = Usage(calls=9, prompt_tokens=1000, cached_tokens=800, cost=0.5)
    progress = Progress(
        rows=10,
        rows_done=5,
        rows_failed=3,
        failures=Counter({"bad_text": 2, "unparsable": 1}),
        calls_made=9,
        replayed=4,
        in_flight=2,
        oldest_sent=time.monotonic() - 12,
        usage=usage,
        notice="the server at http://h/v1 has been silent for 40 s",
    )
    live_run.note_reading(a_reading(progress))
    line = live_run.line()
    assert line.startswith("mine-0001 · batch 2 of 4 · stage 1 of 8: seed_cots · ")
    assert "5 of 10 rows" in line
    assert "3 failed: 2 bad_text, 1 unparsable" in line
    assert "2 calls in flight, the oldest for 12 s; 9 answered, 4 replayed" in line
    assert "(80 % cached)" in line
    assert "EUR 0.50 so far" in line
    assert line.endswith("silent for 40 s")


def test_money_is_projected_from_this_stage_and_the_means_of_those_to_come() -> None:
    row = RowUsage("refined_cots", "p", failed=False, usage=Usage(calls=1, cost=0.2))
    sample = MeasuredSample(prompts=1, rows=[row], simulated=False)
    live_run = a_live_run(make_outlook(sample))
    progress = Progress(rows=10, rows_done=5, usage=Usage(calls=5, cost=0.5))
    live_run.note_reading(a_reading(progress))
    # 0.50 spent, as much again for the other rows, and 10 times 0.20 for the stage to come.
    assert "about EUR 3.00 for the batch" in live_run.line()


def test_money_of_drives_that_are_over_is_kept() -> None:
    live_run = a_live_run()
    spent = Progress(rows=10, rows_done=10, usage=Usage(calls=5, cost=0.5))
    live_run.note_reading(a_reading(spent, is_over=True))
    assert live_run.spent.cost == 0.5
    live_run.note_step("refined_cots")
    more = Progress(rows=10, usage=Usage(calls=1, cost=0.25))
    live_run.note_reading(a_reading(more))
    assert live_run.spent.cost == 0.75


def test_on_a_terminal_the_stage_and_its_rows_are_drawn_past_dagsters_capture(
    tmp_path: Path,
) -> None:
    settings = {"rehearsal.seconds_per_call": 0.15, "driver.calls_in_flight": 4}
    with a_site(tmp_path, **settings) as site:
        site.ingest(prompts_file(site.folder, some_prompts(6)))
        command = [sys.executable, "-m", "aidsafe_dagster.cli", "backfill"]
        status, screen = run_at_a_terminal(command, site.folder)
    assert status == 0, screen
    assert "To make: 1 batch, 6 prompts." in screen
    for stage in (Stage.SEED_COTS, Stage.DELIBERATED_COTS, Stage.PREFERENCE_PAIRS):
        assert f": {stage} · " in screen
    assert re.search(r"[1-6] of 6 rows", screen)
    full = "█" * 28
    assert screen.rindex(f"{full} 6 prompts, done") < screen.index("✓ mine-0001")


def test_a_bar_shows_how_full_it_is_without_colours() -> None:
    live_run = a_live_run()
    live_run.note_reading(a_reading(Progress(rows=4, rows_done=1)))
    console = Console(file=io.StringIO(), width=80)
    console.print(live_run.drawn())
    assert isinstance(console.file, io.StringIO)
    assert f"{'█' * 7}{'░' * 21} 1 of 4 rows" in console.file.getvalue()


@pytest.mark.parametrize("stdout", ["file"])
def test_without_a_terminal_no_bar_is_drawn(tmp_path: Path, stdout: str) -> None:
    with a_site(tmp_path) as site:
        site.ingest(prompts_file(site.folder, some_prompts(2)))
        command = [sys.executable, "-m", "aidsafe_dagster.cli", "backfill"]
        with (tmp_path / stdout).open("w") as file:
            subprocess.run(command, cwd=site.folder, stdout=file, check=True)
        output = (tmp_path / stdout).read_text()
    assert "█" not in output
    assert "\x1b" not in output


def run_at_a_terminal(command: list[str], folder: Path) -> tuple[int, str]:
    """Run a command at a terminal of its own; return its exit status and all that it drew."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(
        command, cwd=folder, stdin=follower, stdout=follower, env=environment
    )
    os.close(follower)
    parts: list[bytes] = []
    reader = threading.Thread(target=read_all, args=(leader, parts))
    reader.start()
    status = process.wait(120)
    reader.join(10)
    os.close(leader)
    drawn = b"".join(parts).decode(errors="replace")
    return status, _ESCAPES.sub("", drawn)


def read_all(descriptor: int, parts: list[bytes]) -> None:
    # The other end is closed: Linux says so by an error.
    while True:
        try:
            part = os.read(descriptor, 65536)
        except OSError:
            return
        if not part:
            return
        parts.append(part)
