"""kill -9 in the middle of a generation; the same command goes on from where it was."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.commands import (
    AIDSAFE,
    SLOTS,
    is_running,
    kill_all_of,
    started,
    wait_until,
)
from tests.generations.sites import ROWS, a_loop_site, a_server
from tests.serving import ModelServer
from tests.site import Site, aidsafe
from tests.training.sites import stand_in

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
COMMAND = (*AIDSAFE, "generation", "run", "--yes")


def completions(site: Site) -> int:
    with closing(sqlite3.connect(site.folder / "data/journal.sqlite")) as journal:
        (count,) = journal.execute("SELECT count(*) FROM completions").fetchone()
    return int(count)


def target_calls(server: ModelServer) -> int:
    return int(server.stats()["by_rule"].get("target", 0))


def test_a_killed_generation_goes_on_and_asks_and_trains_nothing_twice(
    tmp_path: Path,
) -> None:
    hold = tmp_path / "hold"
    training = {
        "python": stand_in(tmp_path),
        "model": "a-model",
        "environment": {"STAND_IN_HOLD": str(hold)},
    }
    with (
        a_server(tmp_path / "server", "g1-dpo", "g2-dpo") as server,
        a_loop_site(tmp_path / "site", server, training=training) as site,
    ):
        first = aidsafe(site.folder, "generation", "run", "--yes")
        assert first.returncode == 0, first.stdout + first.stderr
        server.control(reset=True)
        before = completions(site)

        with started(site.folder, *COMMAND) as process:
            wait_until(lambda: target_calls(server) >= 2, is_running(process), 240)
            kill_all_of(site.folder)

        hold.touch()
        work = site.folder / "data/generations/2/data/training"
        with started(site.folder, *COMMAND) as process:
            wait_until(
                lambda: any(work.glob("*/dpo/holding")), is_running(process), 240
            )
            kill_all_of(site.folder)
        hold.unlink()

        done = aidsafe(site.folder, "generation", "run", "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Generation 2 is finished" in done.stdout
        # The data was finished before the second kill, and the training had no checkpoint yet.
        assert "0 batches run, 1 was finished before" in done.stdout
        assert "cut off before its first checkpoint; it begins again" in done.stdout
        # The calls that were in flight at the kill were answered and not recorded.
        asked = server.stats()["requests"]
        assert asked - (completions(site) - before) <= SLOTS
        assert target_calls(server) >= ROWS

        server.control(reset=True)
        again = aidsafe(site.folder, "generation", "run", "2", "--yes")
        assert again.returncode == 0, again.stdout + again.stderr
        assert server.stats()["requests"] == 0
        assert "│ yes " in again.stdout, "the adapter is not trained again"
