"""Several processes on one engine, with real processes, real locks and real HTTP."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aidsafe_dagster.engines.driver.slot_shares import Claim, SlotShares, fair_shares
from tests.serving import ModelServer, a_model_server
from tests.site import ROOT

TOTAL = 8
HOLDER = f"""
import sys, time
from pathlib import Path
from aidsafe_dagster.engines.driver.slot_shares import SlotShares
shares = SlotShares(Path(sys.argv[1]), {TOTAL})
while True:
    print(shares.claim(100, 0, 0), flush=True)
    time.sleep(0.02)
"""
RUN = """
import sys
from pathlib import Path
from aidsafe_dagster.engines.driver.background_driver import BackgroundDriver
from aidsafe_dagster.engines.driver.settings import DriverSettings
from aidsafe_dagster.engines.endpoint import EndpointEngine
from aidsafe_dagster.engines.settings import EndpointSettings
from tests.engines.driving import some_tasks
folder, base_url, first = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
endpoint = EndpointSettings(base_url=base_url, model="m")
settings = DriverSettings(calls_in_flight=8)
journal = f"sqlite:///{folder / 'j.sqlite'}"
def make_engine(log):
    return EndpointEngine(endpoint)
background = BackgroundDriver(make_engine, journal, settings, folder / "shared")
background.drive(some_tasks(60, start=first), lambda _: None, lambda _: None)
background.close()
"""


@pytest.mark.parametrize(
    ("wanted", "shares"),
    [
        ({"a": 100}, {"a": 8}),
        ({"a": 100, "b": 100}, {"a": 4, "b": 4}),
        ({"a": 100, "b": 2}, {"a": 6, "b": 2}),
        ({"a": 100, "b": 0}, {"a": 8, "b": 0}),
        ({"a": 9, "b": 9, "c": 9}, {"a": 3, "b": 3, "c": 2}),
    ],
)
def test_shares_are_equal_but_no_process_gets_more_than_it_wants(
    wanted: dict[str, int], shares: dict[str, int]
) -> None:
    claims = {name: Claim(wanted=slots) for name, slots in wanted.items()}
    assert fair_shares(claims, TOTAL) == shares


@pytest.mark.parametrize(
    ("wanted", "shares"),
    [((100, 100, 100), (6, 3, 3)), ((2, 100, 100), (2, 5, 5)), ((9, 0, 3), (9, 0, 3))],
)
def test_the_run_that_began_first_gets_a_double_part(
    wanted: tuple[int, ...], shares: tuple[int, ...]
) -> None:
    claims = {
        str(n): Claim(wanted=wants, since=float(n)) for n, wants in enumerate(wanted)
    }
    assert tuple(fair_shares(claims, 12).values()) == shares


def test_with_too_few_slots_those_with_fewest_answers_get_one() -> None:
    claims = {
        "a": Claim(wanted=5, answered=3),
        "b": Claim(wanted=5, answered=1),
        "c": Claim(wanted=5, answered=2),
    }
    assert fair_shares(claims, 2) == {"a": 0, "b": 1, "c": 1}


def test_a_share_is_free_only_after_its_calls_have_ended(tmp_path: Path) -> None:
    one, other = SlotShares(tmp_path, TOTAL), SlotShares(tmp_path, TOTAL)
    assert one.claim(100, 0, 0) == TOTAL
    assert other.claim(100, 0, 0) == 0
    share = one.claim(100, 7, 0)
    assert TOTAL / 2 < share < 7  # seven calls are still in flight
    assert other.claim(100, 0, 0) == 1
    assert one.claim(100, share, 0) == share
    assert other.claim(100, 1, 0) == TOTAL - share
    one.close()
    assert other.claim(100, 4, 0) == TOTAL
    other.close()


def test_the_slots_of_a_killed_process_are_free_at_once(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert int(holder.stdout.readline()) == TOTAL
        survivor = SlotShares(tmp_path, TOTAL)
        assert survivor.claim(100, 0, 0) < TOTAL
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        assert survivor.claim(100, 0, 0) == TOTAL
        survivor.close()


def test_a_damaged_table_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "claims.json").write_text('{"half')
    shares = SlotShares(tmp_path, TOTAL)
    assert shares.claim(3, 0, 0) == 3
    (claim,) = json.loads((tmp_path / "claims.json").read_text()).values()
    assert (claim["wanted"], claim["held"], claim["answered"]) == (3, 3, 0)
    shares.close()


@contextmanager
def two_runs(
    folder: Path, server: ModelServer
) -> Iterator[list[subprocess.Popen[bytes]]]:
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", RUN, str(folder), server.base_url, str(first)],
            cwd=ROOT,
        )
        for first in (0, 1000)
    ]
    try:
        yield runs
    finally:
        for run in runs:
            run.kill()
            run.wait()


@pytest.mark.slow
def test_two_runs_together_never_exceed_the_limit_of_calls_in_flight(
    tmp_path: Path,
) -> None:
    with a_model_server(tmp_path) as server:
        server.control(server={"prefill_base_s": 0.1})
        with two_runs(tmp_path, server) as runs:
            deadline = time.monotonic() + 60
            while (
                any(run.poll() is None for run in runs) and time.monotonic() < deadline
            ):
                time.sleep(0.05)
            assert [run.returncode for run in runs] == [0, 0]
        stats = server.stats()
    assert stats["ok"] == 2 * 60 * 3
    assert stats["peak_inflight"] == 8


@pytest.mark.slow
def test_when_one_of_two_runs_is_killed_the_other_gets_all_slots_and_finishes(
    tmp_path: Path,
) -> None:
    with a_model_server(tmp_path) as server:
        server.control(server={"prefill_base_s": 0.1})
        with two_runs(tmp_path, server) as (killed, other):
            while server.stats()["ok"] < 60:
                time.sleep(0.05)
            killed.kill()
            killed.wait()
            server.control(reset=True)
            assert other.wait(60) == 0
        assert server.stats()["peak_inflight"] == 8
