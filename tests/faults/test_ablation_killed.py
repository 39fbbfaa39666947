"""kill -9 and Ctrl-C in the middle of an experiment; the same command then goes on."""

import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from aidsafe_dagster.ablations.archive import ExperimentArchive
from aidsafe_dagster.ablations.experiment import ExperimentResult
from tests.faults.commands import (
    SLOTS,
    answered_calls,
    fill,
    is_running,
    served_by,
    wait_until,
)
from tests.faults.forks import forked, printed_by
from tests.faults.test_killed import count_journaled
from tests.faults.test_signals import SAFE
from tests.serving import ModelServer, a_model_server
from tests.site import a_site, aidsafe_process, environment

KILLS = 4
COMMAND = ("ablate", "round-table", "--yes")
_WITHOUT_USAGE = {"usage"}


def results_of(folder: Path, server: ModelServer) -> Sequence[ExperimentResult]:
    with a_site(folder, **served_by(server)) as site:
        return list(ExperimentArchive(site.settings.home).results())


def kill_after(folder: Path, server: ModelServer, calls: int, later_s: float) -> None:
    """Kill an experiment a little after the server has answered this many calls."""
    with forked(folder, *COMMAND) as process:
        wait_until(lambda: server.stats().get("ok", 0) >= calls, process.is_alive)
        time.sleep(later_s)


@pytest.mark.slow
def test_after_kills_an_experiment_is_whole_and_no_recorded_call_was_made_again(
    tmp_path: Path,
) -> None:
    rng = random.Random(7)
    with a_model_server(tmp_path) as server:
        undisturbed = tmp_path / "undisturbed"
        fill(undisturbed, server)
        done = aidsafe_process(undisturbed, *COMMAND)
        assert done.returncode == 0, done.stdout + done.stderr
        expected_calls = answered_calls(server)
        (expected,) = results_of(undisturbed, server)
        server.control(reset=True)

        folder = tmp_path / "site"
        fill(folder, server)
        before = 0
        for _ in range(KILLS):
            calls = rng.randrange(5, 60)
            kill_after(folder, server, calls, later_s=rng.uniform(0, 0.05))
            answered = answered_calls(server).total()
            recorded = count_journaled(folder) - before
            # What was in flight at the kill is all that is lost.
            assert recorded <= answered <= recorded + SLOTS
            before += recorded
            server.control(reset=True)
        with forked(folder, *COMMAND) as last:
            last.join(120)
            assert last.exitcode == 0, printed_by(folder, last)
            assert "was killed earlier" in printed_by(folder, last)
        assert answered_calls(server).total() == count_journaled(folder) - before
        assert count_journaled(folder) == expected_calls.total()
        (result,) = results_of(folder, server)
    assert result.experiment == expected.experiment
    assert len(result.rows) == len(expected.rows)
    for row, expected_row in zip(result.rows, expected.rows, strict=True):
        assert row.model_dump(exclude=_WITHOUT_USAGE) == expected_row.model_dump(
            exclude=_WITHOUT_USAGE
        )


@pytest.mark.slow
def test_ctrl_c_ends_an_experiment_with_a_word_on_what_is_safe(tmp_path: Path) -> None:
    with a_model_server(tmp_path) as server:
        folder = tmp_path / "site"
        fill(folder, server)
        with subprocess.Popen(
            [sys.executable, "-m", "aidsafe_dagster.cli", *COMMAND],
            cwd=folder,
            env=environment(folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            wait_until(lambda: server.stats().get("ok", 0) >= 20, is_running(process))
            process.send_signal(signal.SIGINT)
            printed, _ = process.communicate(timeout=60)
        assert process.returncode in (130, -signal.SIGINT)
        assert SAFE in re.sub(r"\s+", " ", printed)
        assert "Traceback" not in printed
        recorded = count_journaled(folder)
        server.control(reset=True)
        done = aidsafe_process(folder, *COMMAND)
        assert done.returncode == 0, done.stdout + done.stderr
        answered = answered_calls(server).total()
        assert answered == count_journaled(folder) - recorded
