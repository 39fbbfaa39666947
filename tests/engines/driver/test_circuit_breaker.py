"""Outages over real HTTP, with the short times of a server in a hurry."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.engines.driver.background_driver import BackgroundDriver
from aidsafe_dagster.engines.driver.circuit_breaker import CircuitBreaker
from aidsafe_dagster.engines.driver.settings import DriverSettings
from aidsafe_dagster.engines.endpoint import EndpointEngine
from aidsafe_dagster.engines.settings import EndpointSettings
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Failure, FailureReason
from tests.engines.driving import a_task, drive_over_http, some_tasks
from tests.serving import ModelServer, a_free_port, a_model_server

HURRIED: dict[str, Any] = {"max_attempts": 2, "backoff_s": 0.01, "max_backoff_s": 0.05}
COUNT = 40


@contextmanager
def change_after(server: ModelServer, calls: int, **changes: object) -> Iterator[None]:
    """Change the server's behaviour once it has answered so many calls."""

    def watch() -> None:
        while server.stats()["ok"] < calls:
            time.sleep(0.005)
        server.control(**changes)

    thread = threading.Thread(target=watch)
    thread.start()
    yield
    thread.join()


@pytest.mark.parametrize("kind", ["503", "drop"])
def test_an_outage_costs_no_row_and_no_retry_and_is_logged(
    tmp_path: Path, kind: str
) -> None:
    log_lines: list[str] = []
    with (
        a_model_server(tmp_path) as server,
        change_after(server, 30, outage={"seconds": 2.5, "kind": kind}),
    ):
        results, progress = drive_over_http(
            tmp_path, server.base_url, some_tasks(COUNT), log_lines, **HURRIED
        )
        stats = server.stats()
    assert not any(isinstance(result, Failure) for result in results)
    assert (progress.calls_made, stats["redone"]) == (3 * COUNT, 0)
    assert stats["outage"] > 0
    assert ["has not answered" in line for line in log_lines] == [True, False]
    assert "answers again" in log_lines[1]


def test_calls_are_held_while_the_server_is_down(tmp_path: Path) -> None:
    with (
        a_model_server(tmp_path) as server,
        change_after(server, 10, outage={"seconds": 3, "kind": "503"}),
    ):
        drive_over_http(tmp_path, server.base_url, some_tasks(COUNT), **HURRIED)
        # Without a circuit breaker there would be more than a thousand failed calls.
        assert server.stats()["outage"] < 150


def test_a_run_waits_for_a_server_that_starts_later(tmp_path: Path) -> None:
    port = a_free_port()
    results = []

    def drive() -> None:
        tasks = some_tasks(4)
        base_url = f"http://127.0.0.1:{port}/v1"
        rows, _ = drive_over_http(tmp_path, base_url, tasks, **HURRIED)
        results.extend(rows)

    thread = threading.Thread(target=drive)
    thread.start()
    time.sleep(1.0)
    with a_model_server(tmp_path, port=port):
        thread.join()
    assert len(results) == 4
    assert not any(isinstance(result, Failure) for result in results)


def test_rows_fail_with_duration_and_reason_of_an_outage_that_outlasts_the_patience(
    tmp_path: Path,
) -> None:
    with (
        a_model_server(tmp_path) as server,
        change_after(server, 30, outage={"seconds": 600, "kind": "503"}),
    ):
        results, progress = drive_over_http(
            tmp_path, server.base_url, some_tasks(COUNT), patience_s=1.0, **HURRIED
        )
    failures = [result for result in results if isinstance(result, Failure)]
    assert {failure.reason for failure in failures} == {FailureReason.ENGINE_ERROR}
    for failure in failures:
        assert "has not answered for" in failure.detail
        assert "HTTP 503" in failure.detail
    assert progress.rows_done == COUNT


def test_a_call_that_always_fails_fails_its_row_even_when_no_other_call_is_left(
    tmp_path: Path,
) -> None:
    with a_model_server(tmp_path, faults={"poison": 0.1}) as server:
        results, _ = drive_over_http(
            tmp_path, server.base_url, some_tasks(COUNT), **HURRIED
        )
    failures = [result for result in results if isinstance(result, Failure)]
    assert failures
    for failure in failures:
        assert "HTTP 500" in failure.detail
        assert ", the last)" in failure.detail


def test_an_address_that_has_never_answered_stops_the_run(tmp_path: Path) -> None:
    endpoint = EndpointSettings(
        base_url=f"http://127.0.0.1:{a_free_port()}/v1", model="m"
    )
    background = BackgroundDriver(
        lambda _: EndpointEngine(endpoint),
        f"sqlite:///{tmp_path / 'journal.sqlite'}",
        DriverSettings(first_answer_s=0.5, **HURRIED),
        tmp_path / "shared",
    )
    try:
        with pytest.raises(
            SetupError, match=r"has not answered once .* Is the server up"
        ):
            background.drive([a_task(0)], lambda _: None, lambda _: None)
    finally:
        background.close()


def test_no_probe_goes_on_once_a_circuit_that_opened_twice_is_closed() -> None:
    async def left_over() -> int:
        was_probed = asyncio.Event()

        async def probe() -> bool:
            was_probed.set()
            return False

        breaker = CircuitBreaker(
            name="server",
            probe=probe,
            patience_s=60,
            first_answer_s=None,
            on_release=lambda _: None,
        )
        for _ in range(2):
            breaker.record_failure(0.0, "503", is_last_attempt=True)
            # The first probe comes at once, the next one after a pause.
            await was_probed.wait()
            was_probed.clear()
            breaker.record_success(0.0)
        breaker.record_failure(0.0, "503", is_last_attempt=True)
        await breaker.close()
        return len(asyncio.all_tasks()) - 1

    assert asyncio.run(left_over()) == 0
