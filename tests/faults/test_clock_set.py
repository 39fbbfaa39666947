"""The clock on the wall is set by an hour while commands and the daemon are at work."""

from pathlib import Path

import pytest

from tests.faults.commands import (
    AIDSAFE,
    SLOTS,
    answered_calls,
    fill,
    is_running,
    printed,
    served_by,
    stage_texts,
    started,
    wait_until,
)
from tests.faults.conftest import Undisturbed
from tests.faults.test_daemon_runs import SUCCESS, in_mid_batch, run_processes, runs_of
from tests.faults.wall_clock import CAN_BE_SET, WallClock
from tests.faults.web_ui import a_web_ui
from tests.serving import a_model_server
from tests.site import a_site

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not CAN_BE_SET, reason="needs Linux and a C compiler"),
]
THROTTLED = {"p429": 1.0, "max_faulty_attempts": 1_000, "retry_after_s": 0.2}


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_batch_is_made_with_the_same_calls_while_the_clock_is_set(
    tmp_path: Path, undisturbed: Undisturbed, hours: int
) -> None:
    folder = tmp_path / "site"
    clock = WallClock(tmp_path / "clock")
    with a_model_server(tmp_path) as server:
        fill(folder, server)
        with started(folder, *AIDSAFE, "backfill", **clock.environment) as backfill:
            alive = is_running(backfill)
            wait_until(lambda: server.stats().get("ok", 0) >= 30, alive)
            server.control(faults=THROTTLED)
            # Everything is refused, and waits for its time, when the clock is set.
            refused_from = server.stats()["requests"]
            wait_until(lambda: server.stats()["requests"] > refused_from + 10, alive)
            clock.set(hours)
            refused = server.stats()["requests"]
            wait_until(lambda: server.stats()["requests"] > refused + 5, alive)
            server.control(faults={"p429": 0.0})
            wait_until(lambda: server.stats()["ok"] >= 70, alive)
            clock.set(0)
            assert backfill.wait(240) == 0, printed(folder)
        assert answered_calls(server) == undisturbed.calls
        with a_site(folder, **served_by(server)) as site:
            assert stage_texts(site) == undisturbed.texts


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_batch_whose_run_was_killed_is_taken_up_again_although_the_clock_was_set(
    tmp_path: Path, undisturbed: Undisturbed, hours: int
) -> None:
    folder = tmp_path / "site"
    clock = WallClock(tmp_path / "clock")
    with a_model_server(tmp_path) as server:
        fill(folder, server)
        with (
            a_site(folder, **served_by(server)) as site,
            a_web_ui(folder, environ=clock.environment) as ui,
        ):
            in_mid_batch(site, server, ui)
            clock.set(hours)
            for process in run_processes(site):
                process.kill()
            wait_until(
                lambda: runs_of(site)[0].status is SUCCESS, ui.alive, within_s=240
            )
            assert stage_texts(site) == undisturbed.texts
        repeated = answered_calls(server) - undisturbed.calls
        assert repeated.total() <= SLOTS
