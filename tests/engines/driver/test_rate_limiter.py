"""The rate limiter in virtual time, against servers that limit in the ways that real ones do."""

from collections.abc import Callable

import pytest

from aidsafe_dagster.engines.driver.rate_limiter import RateLimiter
from aidsafe_dagster.engines.driver.rate_state import Limit, Mode
from tests.engines.driver.limited_run import START, LimitedRun, Load
from tests.engines.driver.limited_servers import (
    FixedWindow,
    LimitedServer,
    SlidingWindow,
    TokenBucket,
)

PER_MINUTE = 1 / 60
SLOW = Load(slots=16, answer_s=8.0)
QUICK = Load()
MANY = Load(calls=700)

Case = tuple[Callable[[], LimitedServer], Limit, Load]
CASES: dict[str, Case] = {
    f"bucket of {capacity}, {rate} a minute, says '{says}'": (
        lambda rate=rate, capacity=capacity, says=says: TokenBucket(  # type: ignore[misc]
            rate, capacity, says
        ),
        Limit(calls=rate * PER_MINUTE),
        QUICK,
    )
    for rate in (60, 120)
    for capacity in (1, 10, rate)
    for says in ("", "1", "honest")
}
CASES |= {
    f"121 a minute, bucket of {capacity}, answers of 8 s": (
        lambda capacity=capacity: TokenBucket(121, capacity),  # type: ignore[misc]
        Limit(calls=121 * PER_MINUTE),
        SLOW,
    )
    for capacity in (1, 10, 121)
}
CASES |= {
    "121 in any minute, answers of 8 s": (
        lambda: SlidingWindow(121),
        Limit(calls=121 * PER_MINUTE),
        SLOW,
    ),
    "120 in any minute": (lambda: SlidingWindow(120), Limit(calls=2.0), MANY),
    "200 in each minute": (
        lambda: FixedWindow(200),
        Limit(calls=200 * PER_MINUTE),
        MANY,
    ),
    "200 in each minute, begun before": (
        lambda: FixedWindow(200, phase=25),
        Limit(calls=200 * PER_MINUTE),
        MANY,
    ),
    "200 in each minute, exact header": (
        lambda: FixedWindow(200, phase=25, says="honest"),
        Limit(calls=200 * PER_MINUTE),
        MANY,
    ),
    "6,000 tokens a minute": (
        lambda: TokenBucket(6000, 6000, counts_tokens=True),
        Limit(tokens=6000 * PER_MINUTE),
        QUICK,
    ),
    "3,000 a minute": (
        lambda: TokenBucket(3000, 3000),
        Limit(calls=50.0),
        Load(calls=6000),
    ),
    "10 a minute": (
        lambda: TokenBucket(10, 10),
        Limit(calls=10 * PER_MINUTE),
        Load(calls=60),
    ),
}


@pytest.mark.parametrize("is_set", [True, False], ids=["set", "unset"])
@pytest.mark.parametrize("name", CASES)
def test_a_limit_is_used_up_and_few_calls_are_rejected_once_it_is_known(
    name: str, is_set: bool
) -> None:
    make_server, limit, load = CASES[name]
    run = LimitedRun(make_server(), limit if is_set else Limit(), load).run()
    assert run.seconds <= 1.15 * run.ideal_s
    assert run.later_share < 0.1


def test_isolated_rejections_change_nothing() -> None:
    limiter = RateLimiter()
    for number in range(2000):
        now = START + number / 50
        send = limiter.take(now)
        if number % 20 == 0:
            limiter.reject(now, send, retry_after_s=1.0)
        else:
            limiter.answer(now, send)
        assert limiter.wait_s(now) == 0


def test_rejections_that_no_pace_avoids_hold_nothing_back() -> None:
    limiter = RateLimiter()
    now = START
    # Two of three calls are rejected, however slowly they come.
    for number in range(200):
        now += max(0.02, limiter.wait_s(now))
        send = limiter.take(now)
        if number % 3:
            limiter.reject(now + 0.01, send)
        else:
            limiter.answer(now + 0.01, send)
    assert limiter.state.mode is Mode.FREE
    assert now - START < 60


def test_rejections_of_calls_in_flight_count_as_one() -> None:
    limiter = RateLimiter()
    sends = [limiter.take(START) for _ in range(64)]
    for send in sends:
        limiter.reject(START + 0.01, send)
    assert limiter.state.mode is Mode.PROBING
    assert limiter.state.rejections == 1


def test_a_set_limit_is_tried_in_growing_batches() -> None:
    limiter = RateLimiter(Limit(calls=1.0))
    sizes = []
    now = START
    for _ in range(4):
        size = limiter.allowance(now)
        sends = [limiter.take(now) for _ in range(size)]
        assert limiter.allowance(now) == 0
        for send in sends:
            limiter.answer(now, send)
        sizes.append(size)
        now += 1
    assert sizes == [4, 8, 16, 32]  # of 60


def test_nothing_is_sent_before_the_time_that_a_server_asks_for() -> None:
    limiter = RateLimiter(Limit(calls=10.0))
    send = limiter.take(START)
    limiter.reject(START, send, retry_after_s=30.0)
    assert limiter.wait_s(START + 29) == pytest.approx(1)
    assert limiter.wait_s(START + 31) == 0


def test_a_limit_that_is_gone_is_forgotten() -> None:
    load = Load(calls=3000, slots=16)
    run = LimitedRun(FixedWindow(200, seconds=60), Limit(), load)
    server = run.server
    assert isinstance(server, FixedWindow)
    # The first minute is limited, and later ones are not.
    run.load = Load(calls=250, slots=16)
    run.run()
    server.per_window = 1_000_000
    run.load = load
    run.run()
    assert run.limiter.state.mode in (Mode.FREE, Mode.RAMP)
    assert run.seconds < 120


def test_an_idle_bucket_is_used_again() -> None:
    limiter = RateLimiter(Limit(calls=1.0))
    now = START
    for _ in range(100):
        now += limiter.wait_s(now)
        limiter.answer(now, limiter.take(now))
    assert limiter.allowance(now) == 0
    assert limiter.allowance(now + 60) > 1
