"""Servers that are busy, refuse, or have never answered: what waits, and what stops the run."""

import asyncio
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from aidsafe_dagster.engines.driver.driver import Driver
from aidsafe_dagster.engines.driver.lanes import Server, clock_time
from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.engines.driver.settings import DriverSettings
from aidsafe_dagster.engines.driver.slot_shares import SlotShares
from aidsafe_dagster.engines.journal import Journal
from aidsafe_dagster.engines.protocol import (
    ErrorKind,
    RequestRejected,
    RetryableError,
    Route,
)
from aidsafe_dagster.recipe.dialogue import DialogueTask, Request
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Failure, FailureReason, Role
from tests.engines.driver.limited_http import a_limited_endpoint
from tests.engines.driver.limited_servers import FixedWindow, TokenBucket
from tests.engines.driving import (
    FAST,
    ScriptedEngine,
    a_task,
    drive_over_http,
    some_tasks,
)
from tests.engines.test_journal import a_request

WORDS = "HTTP 429: free requests of this day are used up"


def busy(retry_after_s: float | None = None) -> RetryableError:
    return RetryableError(WORDS, retry_after_s, ErrorKind.RATE_LIMITED)


def drive_tasks(
    folder: Path,
    engine: ScriptedEngine,
    tasks: list[DialogueTask[str]],
    settings: DriverSettings = FAST,
    progress: Progress | None = None,
    *,
    has_shares: bool = True,
) -> list[str | Failure]:
    """Drive as a run of this machine, which shares what it knows through a folder."""

    async def run() -> list[str | Failure]:
        with closing(Journal(f"sqlite:///{folder / 'journal.sqlite'}")) as journal:
            shares = SlotShares(folder / "shared", engine.slots) if has_shares else None
            driver = Driver(engine, journal, settings, shares)
            try:
                return await driver.drive(tasks, progress or Progress(len(tasks)))
            finally:
                await driver.close()

    return asyncio.run(run())


def failures(results: list[str | Failure]) -> list[Failure]:
    return [result for result in results if isinstance(result, Failure)]


def test_a_busy_server_costs_no_attempt(tmp_path: Path) -> None:
    seen: dict[str, int] = {}

    def busy_seven_times(request: Request, attempt: int) -> None:
        assert attempt == 0
        seen[request.prompt_id] = seen.get(request.prompt_id, 0) + 1
        if seen[request.prompt_id] <= 7:
            raise busy()

    settings = DriverSettings(max_attempts=2, backoff_s=0.001)
    engine = ScriptedEngine(busy_seven_times)
    results = drive_tasks(tmp_path, engine, [a_task(0, turns=1)], settings)
    assert results == ["0"]


@pytest.mark.parametrize("is_set", [True, False], ids=["set", "unset"])
def test_no_row_is_lost_to_a_rate_limit(tmp_path: Path, is_set: bool) -> None:
    limit = TokenBucket(per_minute=1200, capacity=10)
    with a_limited_endpoint(limit, answer_s=0.01) as endpoint:
        results, _ = drive_over_http(
            tmp_path,
            endpoint.base_url,
            some_tasks(30),
            requests_per_minute=1200.0 if is_set else None,
        )
    assert not failures(results)
    assert endpoint.answers == 90


def test_a_window_that_closes_loses_no_row(tmp_path: Path) -> None:
    limit = FixedWindow(per_window=30, seconds=5.0)
    with a_limited_endpoint(limit, answer_s=0.01) as endpoint:
        results, _ = drive_over_http(tmp_path, endpoint.base_url, some_tasks(15))
    assert not failures(results)
    assert endpoint.answers == 45


@pytest.mark.parametrize("wait_s", [7200.0, 86400.0])
def test_a_server_that_asks_to_wait_beyond_the_patience_stops_the_run(
    tmp_path: Path, wait_s: float
) -> None:
    def used_up(request: Request, attempt: int) -> None:
        raise busy(wait_s)

    engine = ScriptedEngine(used_up)
    engine.slots = 64
    with pytest.raises(SetupError) as raised:
        drive_tasks(tmp_path, engine, some_tasks(40))
    message = str(raised.value)
    now = time.time()
    # The minute may have passed meanwhile.
    times = [clock_time(now + wait_s - late, now) for late in (0, 60)]
    assert any(f"asks to wait until {until}" in message for until in times)
    assert "the scripted engine (scripted)" in message
    assert WORDS in message
    assert "longer than driver.patience_s (3600 s)" in message
    assert len(engine.calls) <= 5


def test_a_server_that_refuses_everything_as_busy_for_too_long_stops_the_run(
    tmp_path: Path,
) -> None:
    def always_busy(request: Request, attempt: int) -> None:
        raise busy()

    settings = DriverSettings(backoff_s=0.01, patience_s=1.0)
    with pytest.raises(SetupError, match=r"has refused every call as busy since .*429"):
        drive_tasks(tmp_path, ScriptedEngine(always_busy), some_tasks(8), settings)


def test_the_notice_tells_until_when_a_server_asks_to_wait_and_how_many_calls_wait(
    tmp_path: Path,
) -> None:
    notices: list[str] = []
    progress = Progress(6)
    engine = ScriptedEngine()

    def busy_at_first(request: Request, attempt: int) -> None:
        if progress.notice:
            notices.append(progress.notice)
        if len(engine.calls) <= 4:
            raise busy(2.0)

    engine.script = busy_at_first
    watcher = threading.Thread(target=lambda: _collect(progress, notices))
    watcher.start()
    tasks = [a_task(number, turns=1) for number in range(6)]
    results = drive_tasks(tmp_path, engine, tasks, FAST, progress)
    watcher.join()
    assert not failures(results)
    waiting = [notice for notice in notices if "asks to wait until" in notice]
    assert waiting
    assert WORDS in waiting[0]
    assert "calls wait" in waiting[0]


def _collect(progress: Progress, notices: list[str]) -> None:
    while progress.rows_done < progress.rows:
        if progress.notice:
            notices.append(progress.notice)
        time.sleep(0.02)


class TwoServers(ScriptedEngine):
    """The judge is on a server that is throttled, all others on one that is not."""

    slots = 8

    def route(self, speaker: str) -> Route:
        if speaker == Role.JUDGE:
            return Route("slow", "m", slots=4, requests_per_minute=1.0)
        return Route("quick", "m", slots=4)


def test_a_throttled_server_keeps_no_calls_to_other_servers_back(
    tmp_path: Path,
) -> None:
    engine = TwoServers()
    quick = some_tasks(30, start=100)
    slow = [a_task(number, role=Role.JUDGE) for number in range(3)]
    progress = Progress(33)

    async def run() -> None:
        all_quick_done = asyncio.Event()

        def note_row(progress: Progress) -> None:
            if progress.rows_done >= len(quick):
                all_quick_done.set()

        with closing(Journal(f"sqlite:///{tmp_path / 'journal.sqlite'}")) as journal:
            driver = Driver(engine, journal, FAST)
            tasks = [*slow, *quick]
            work = driver.drive(tasks, progress, on_progress=note_row)
            drive = asyncio.create_task(work)
            await all_quick_done.wait()
            drive.cancel()
            await asyncio.gather(drive, return_exceptions=True)
            await driver.close()

    asyncio.run(asyncio.wait_for(run(), 30))
    assert len([prompt for prompt, _ in engine.calls if int(prompt[1:]) < 100]) <= 3


def test_a_server_that_refuses_the_first_five_calls_stops_the_run(
    tmp_path: Path,
) -> None:
    def refused(request: Request, attempt: int) -> None:
        raise RequestRejected("HTTP 400: unknown field 'seed'")

    engine = ScriptedEngine(refused)
    engine.slots = 64
    with pytest.raises(
        SetupError, match=r"has refused the first 5 calls and answered none: HTTP 400"
    ):
        drive_tasks(tmp_path, engine, some_tasks(200))
    assert len(engine.calls) == 5


def test_an_error_that_would_meet_all_calls_stops_the_run_within_five(
    tmp_path: Path,
) -> None:
    def wrong_key(request: Request, attempt: int) -> None:
        raise SetupError("HTTP 401: wrong key")

    engine = ScriptedEngine(wrong_key)
    engine.slots = 64
    with pytest.raises(SetupError, match="wrong key"):
        drive_tasks(tmp_path, engine, some_tasks(100))
    assert len(engine.calls) <= 5


def test_reasoning_that_fills_every_answer_stops_the_run_in_the_engine_s_words(
    tmp_path: Path,
) -> None:
    def cut(request: Request, attempt: int) -> None:
        detail = "the reasoning reached the limit; set a larger reasoning_budget"
        raise RequestRejected(detail, FailureReason.CUT_IN_REASONING)

    with pytest.raises(SetupError, match="set a larger reasoning_budget"):
        drive_tasks(tmp_path, ScriptedEngine(cut), some_tasks(20))


@pytest.mark.parametrize(
    "reason", [FailureReason.MODERATED, FailureReason.CONTEXT_OVERFLOW]
)
def test_rows_that_fail_for_their_own_sake_stop_nothing(
    tmp_path: Path, reason: FailureReason
) -> None:
    def own_fault(request: Request, attempt: int) -> None:
        raise RequestRejected("flagged", reason)

    results = drive_tasks(tmp_path, ScriptedEngine(own_fault), some_tasks(12))
    assert {failure.reason for failure in failures(results)} == {reason}
    assert len(failures(results)) == 12


def refuse_tasks(request: Request, attempt: int) -> None:
    """Refuse the content of requests and not their form."""
    if "task" in request.messages[-1].content:
        raise RequestRejected("HTTP 400: this prompt is too odd")


def test_five_odd_rows_of_a_server_that_has_answered_before_only_fail(
    tmp_path: Path,
) -> None:
    drive_tasks(tmp_path, ScriptedEngine(), some_tasks(3))
    engine = ScriptedEngine(refuse_tasks)
    results = drive_tasks(tmp_path, engine, some_tasks(12, start=50))
    assert len(failures(results)) == 12


def test_a_server_that_begins_to_refuse_everything_stops_the_run(
    tmp_path: Path,
) -> None:
    engine = ScriptedEngine()

    def refused_later(request: Request, attempt: int) -> None:
        if len(engine.calls) > 20:
            raise RequestRejected("HTTP 400: no such model any more")

    engine.script = refused_later
    with pytest.raises(SetupError, match=r"a short one of the same form: HTTP 400"):
        drive_tasks(tmp_path, engine, some_tasks(100))
    assert len(engine.calls) < 40


def test_a_server_that_has_never_answered_is_sent_four_calls_at_a_time(
    tmp_path: Path,
) -> None:
    peaks: list[int] = []
    for number in range(2):
        engine = ScriptedEngine()
        engine.slots = 64
        first: list[int] = []

        def note_peak(
            request: Request,
            attempt: int,
            engine: ScriptedEngine = engine,
            first: list[int] = first,
        ) -> None:
            if not first:
                first.append(engine.peak)

        engine.script = note_peak
        drive_tasks(tmp_path, engine, some_tasks(80, start=100 * number))
        peaks += first
    assert peaks[0] == 4
    assert peaks[1] > 30


def test_a_folder_that_cannot_be_written_loses_no_row(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = ScriptedEngine()

    def block_file(request: Request, attempt: int) -> None:
        # A folder in the place of the file cannot be opened.
        for file in (tmp_path / "shared").glob("rate-*.json"):
            if file.is_file():
                file.unlink()
                file.mkdir()

    engine.script = block_file
    engine.route = lambda speaker: Route(  # type: ignore[method-assign]
        "scripted", "scripted", slots=4, requests_per_minute=6000.0
    )
    results = drive_tasks(tmp_path, engine, some_tasks(10))
    assert not failures(results)
    assert "the rate limit is not shared with other runs for now" in caplog.text


def test_a_server_that_owes_a_reply_is_called_silent_after_a_while() -> None:
    route = Route("endpoint", "m", slots=4, address="http://127.0.0.1:8000/v1")
    server = Server(route, 1.0, 60.0, None)
    later = time.monotonic() + 40
    assert server.silence(later) == ""
    server.try_send(a_request())
    server.in_flight = 1
    assert server.silence(later) == (
        "the server at http://127.0.0.1:8000/v1 has been silent for 40 s"
    )
    assert server.silence(time.monotonic()) == ""
