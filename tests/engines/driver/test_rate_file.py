"""A rate limit that several runs of a machine share through a file."""

import heapq
from pathlib import Path

import pytest

from aidsafe_dagster.engines.driver.lanes import Server
from aidsafe_dagster.engines.driver.rate_file import RateFile
from aidsafe_dagster.engines.driver.rate_limiter import RateLimiter
from aidsafe_dagster.engines.driver.rate_state import Limit, RateState
from aidsafe_dagster.engines.protocol import ErrorKind, RetryableError, Route
from tests.engines.driver.limited_run import START
from tests.engines.driver.limited_servers import TokenBucket

BUSY = RetryableError("HTTP 429: slow down", kind=ErrorKind.RATE_LIMITED)


def test_what_one_process_writes_the_next_one_reads(tmp_path: Path) -> None:
    one, other = RateFile(tmp_path / "rate.json"), RateFile(tmp_path / "rate.json")
    assert other.read_if_changed() is None
    with one.change(RateState()) as state:
        state.rate = 2.5
    seen = other.read_if_changed()
    assert seen is not None
    assert seen.rate == 2.5
    assert other.read_if_changed() is None


@pytest.mark.parametrize("content", ["", '{"mode": "pac', "[]", '{"mode": "odd"}'])
def test_a_damaged_file_is_replaced(tmp_path: Path, content: str) -> None:
    path = tmp_path / "rate.json"
    path.write_text(content)
    with RateFile(path).change(RateState(rate=3.0)) as state:
        assert state.rate == 3.0
    with RateFile(path).change(RateState()) as state:
        assert state.rate == 3.0


def test_runs_together_keep_to_one_limit(tmp_path: Path) -> None:
    bucket = TokenBucket(per_minute=120, capacity=30)
    files = [RateFile(tmp_path / "rate.json") for _ in range(3)]
    rejected = sent = 0
    turns = [(START + number / 1000, number) for number in range(3)]
    heapq.heapify(turns)
    while turns:
        now, number = heapq.heappop(turns)
        limiter = RateLimiter(Limit(calls=2.0))
        with files[number].change(limiter.state) as limiter.state:
            wait_s = limiter.wait_s(now)
            if not wait_s:
                send = limiter.take(now)
                sent += 1
                if bucket.admit(now - START, 1.0).is_admitted:
                    limiter.answer(now, send)
                else:
                    rejected += 1
                    limiter.reject(now, send)
        if now < START + 300:
            heapq.heappush(turns, (now + max(wait_s, 0.001), number))
    assert rejected < 0.1 * sent
    assert sent - rejected > 0.9 * (30 + 300 * 2)


def test_a_limit_that_one_run_learns_holds_the_others_back(tmp_path: Path) -> None:
    route = Route("s", "m", slots=8)
    one, other = [
        Server(route, 1.0, 60.0, RateFile(tmp_path / "rate.json")) for _ in range(2)
    ]
    sends = [one.limiter.take(START) for _ in range(8)]
    assert not (tmp_path / "rate.json").exists()
    for send in sends:
        one.note_busy(send, BUSY, "the server s (m)")
    assert one.is_limited
    assert not other.is_limited
    other.sync()
    assert other.is_limited
    assert other.allowance() == 0
