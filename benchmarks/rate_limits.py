"""Servers with a rate limit: time against the ideal, and calls that were rejected.

Each server is tried with its limit set and unset, by real HTTP and in real time. They limit and do
not compute, so many of them are tried at the same time.
"""

import asyncio
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from aidsafe_dagster.engines.driver.driver import Driver
from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.engines.driver.settings import DriverSettings
from aidsafe_dagster.engines.driver.slot_shares import SlotShares
from aidsafe_dagster.engines.endpoint import EndpointEngine
from aidsafe_dagster.engines.journal import Journal
from aidsafe_dagster.engines.settings import EndpointSettings
from aidsafe_dagster.recipe.records import Failure
from benchmarks.options import Options, Section
from tests.engines.driver.limited_http import LimitedEndpoint, a_limited_endpoint
from tests.engines.driver.limited_servers import (
    FixedWindow,
    LimitedServer,
    TokenBucket,
)
from tests.engines.driving import a_task

TOKENS = 100
_TURNS = 2
_AT_A_TIME = 14
"""Benchmarks under way. They wait most of the time."""


@dataclass(frozen=True)
class Case:
    """A server and the calls that it is sent."""

    name: str
    make_limit: Callable[[], LimitedServer]
    calls: int
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    slots: int = 64
    answer_s: float = 0.2

    @property
    def ideal_s(self) -> float:
        """Seconds that limit, slots and the last answers make the calls take."""
        by_limit = self.make_limit().ideal_s(self.calls, TOKENS)
        by_slots = self.calls * self.answer_s / self.slots
        return max(by_limit, by_slots) + self.answer_s


@dataclass(frozen=True)
class _Bucket:
    """Makes a bucket. A process can be sent this, and no closure."""

    per_minute: float
    capacity: float
    says: str = ""

    def __call__(self) -> LimitedServer:
        return TokenBucket(self.per_minute, self.capacity, self.says)


def _minute() -> LimitedServer:
    return FixedWindow(200)


def _tokens() -> LimitedServer:
    return TokenBucket(120 * TOKENS, 120 * TOKENS, counts_tokens=True)


def _cases() -> list[Case]:
    cases = []
    for rate in (60, 120):
        calls = 4 * rate
        for capacity in (1, 10, rate):
            name = f"bucket of {capacity}, {rate} a minute"
            for says, words in (("", ""), ("1", ", Retry-After: 1")):
                limit = _Bucket(rate, capacity, says)
                cases.append(Case(name + words, limit, calls, rate))
    for capacity in (1, 121):
        name = f"bucket of {capacity}, 121 a minute, 16 slots, answers of 8 s"
        limit = _Bucket(121, capacity)
        cases.append(Case(name, limit, 400, 121, slots=16, answer_s=8.0))
    cases.append(Case("200 in each minute, no header", _minute, 700, 200))
    honest = _Bucket(120, 60, "honest")
    cases.append(
        Case("bucket of 60, 120 a minute, exact Retry-After", honest, 400, 120)
    )
    cases.append(Case("12,000 tokens a minute", _tokens, 400, None, 120 * TOKENS))
    return cases


def run(options: Options) -> Section:  # noqa: ARG001
    cases = _cases()
    jobs = [(case, is_set) for case in cases for is_set in (True, False)]
    # Not forked: the parent may have threads.
    with ProcessPoolExecutor(_AT_A_TIME, get_context("spawn")) as pool:
        lines = list(pool.map(_line, *zip(*jobs, strict=True)))
    return Section(
        "Rate limits",
        f"Rows of {_TURNS} dependent calls, 64 slots and answers of 0.2 s unless it says "
        "otherwise. The ideal time is what the server's limit and the slots admit. The later half "
        "of the calls comes after the limit is set or learned.",
        (
            "server",
            "limit",
            "calls",
            "rows lost",
            "s",
            "s, ideal",
            "ratio",
            "rejected, of all",
            "rejected, later half",
        ),
        lines,
    )


def _line(case: Case, is_set: bool) -> tuple[object, ...]:
    with a_limited_endpoint(case.make_limit(), case.answer_s, TOKENS) as endpoint:
        lost, seconds = asyncio.run(_drive(case, endpoint, is_set=is_set))
    replies = sorted(endpoint.replies)
    statuses = [status for _, status in replies]
    half = case.calls // 2
    answers = 0
    later: list[int] = []
    for status in statuses:
        if answers >= half:
            later.append(status)
        answers += status == 200
    return (
        case.name,
        "set" if is_set else "unset",
        answers,
        lost,
        f"{seconds:.1f}",
        f"{case.ideal_s:.1f}",
        f"{seconds / case.ideal_s:.2f}",
        f"{statuses.count(429) / len(statuses):.1%}",
        f"{later.count(429) / len(later):.1%}",
    )


async def _drive(
    case: Case, endpoint: LimitedEndpoint, *, is_set: bool
) -> tuple[int, float]:
    """Drive the calls; return the rows lost and the seconds it took."""
    settings = EndpointSettings(
        base_url=endpoint.base_url,
        model="m",
        slots=case.slots,
        requests_per_minute=case.requests_per_minute if is_set else None,
        tokens_per_minute=case.tokens_per_minute if is_set else None,
    )
    engine = EndpointEngine(settings)
    rows = case.calls // _TURNS
    progress = Progress(rows)
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(Journal(f"sqlite:///{folder}/journal.sqlite")) as journal,
    ):
        shares = SlotShares(Path(folder) / "shared", case.slots)
        driver = Driver(engine, journal, DriverSettings(), shares)
        try:
            tasks = [a_task(number, turns=_TURNS) for number in range(rows)]
            results = await driver.drive(tasks, progress)
            first_call, _ = endpoint.replies[0]
            seconds = time.monotonic() - first_call
        finally:
            await driver.close()
            await engine.close()
    lost = sum(isinstance(result, Failure) for result in results)
    return lost, seconds
