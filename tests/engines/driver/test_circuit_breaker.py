"""An engine that goes away and comes back, over real HTTP; the times are those of a hurried server."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.engines.driver.background_driver import BackgroundDriver
from aidsafe_dagster.engines.driver.settings import DriverSettings
from aidsafe_dagster.engines.endpoint import EndpointEngine, EndpointSettings
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Failure, FailureReason
from tests.engines.driving import a_task, driven_over_http
from tests.serving import ModelServer, a_free_port, a_model_server

HURRIED: dict[str, Any] = {"max_attempts": 2, "backoff_s": 0.01, "max_backoff_s": 0.05}
COUNT = 40


@contextmanager
def in_the_middle(server: ModelServer, calls: int, **orders: object) -> Iterator[None]:
    """Gives the server its orders once it has answered so many calls."""

    def watch() -> None:
        while server.stats()["ok"] < calls:
            time.sleep(0.005)
        server.control(**orders)

    thread = threading.Thread(target=watch)
    thread.start()
    yield
    thread.join()


@pytest.mark.parametrize("kind", ["503", "drop"])
def test_an_outage_costs_no_row_and_no_attempt_and_the_log_tells_of_it(
    tmp_path: Path, kind: str
) -> None:
    said: list[str] = []
    with (
        a_model_server(tmp_path) as server,
        in_the_middle(server, 30, outage={"seconds": 2.5, "kind": kind}),
    ):
        results, progress = driven_over_http(
            tmp_path, server.base_url, [a_task(n) for n in range(COUNT)], said, **HURRIED
        )
        stats = server.stats()
    assert not any(isinstance(result, Failure) for result in results)
    assert (progress.calls_made, stats["redone"]) == (3 * COUNT, 0)
    assert stats["outage"] > 0
    assert ["has not answered" in line for line in said] == [True, False]
    assert "answers again" in said[1]


def test_while_the_engine_is_away_calls_wait_and_do_not_knock(tmp_path: Path) -> None:
    with (
        a_model_server(tmp_path) as server,
        in_the_middle(server, 10, outage={"seconds": 3, "kind": "503"}),
    ):
        driven_over_http(tmp_path, server.base_url, [a_task(n) for n in range(COUNT)], **HURRIED)
        assert (
            server.stats()["outage"] < 150
        )  # knocking at every chance would be more than a thousand


def test_a_server_that_starts_later_than_the_run_is_waited_for(tmp_path: Path) -> None:
    port = a_free_port()
    results = []

    def drive() -> None:
        cases = [a_task(n) for n in range(4)]
        results.extend(
            driven_over_http(tmp_path, f"http://127.0.0.1:{port}/v1", cases, **HURRIED)[0]
        )

    thread = threading.Thread(target=drive)
    thread.start()
    time.sleep(1.0)
    with a_model_server(tmp_path, port=port):
        thread.join()
    assert len(results) == 4
    assert not any(isinstance(result, Failure) for result in results)


def test_when_patience_is_at_its_end_rows_fail_and_say_for_how_long_and_why(tmp_path: Path) -> None:
    with (
        a_model_server(tmp_path) as server,
        in_the_middle(server, 30, outage={"seconds": 600, "kind": "503"}),
    ):
        results, progress = driven_over_http(
            tmp_path, server.base_url, [a_task(n) for n in range(COUNT)], patience_s=1.0, **HURRIED
        )
    failures = [result for result in results if isinstance(result, Failure)]
    assert {failure.reason for failure in failures} == {FailureReason.ENGINE_ERROR}
    assert all(
        "has not answered for" in failure.detail and "HTTP 503" in failure.detail
        for failure in failures
    )
    assert progress.rows_done == COUNT


def test_a_call_that_fails_for_ever_fails_its_row_even_when_nothing_else_is_left_to_ask(
    tmp_path: Path,
) -> None:
    with a_model_server(tmp_path, faults={"poison": 0.1}) as server:
        results, _ = driven_over_http(
            tmp_path, server.base_url, [a_task(n) for n in range(COUNT)], **HURRIED
        )
    failures = [result for result in results if isinstance(result, Failure)]
    assert failures
    assert all(
        "HTTP 500" in failure.detail and ", the last)" in failure.detail for failure in failures
    )


def test_an_address_where_nobody_ever_answered_stops_the_run(tmp_path: Path) -> None:
    endpoint = EndpointSettings(base_url=f"http://127.0.0.1:{a_free_port()}/v1", model="m")
    background = BackgroundDriver(
        lambda _: EndpointEngine(endpoint),
        f"sqlite:///{tmp_path / 'journal.sqlite'}",
        DriverSettings(first_answer_s=0.5, **HURRIED),
        tmp_path / "shared",
    )
    try:
        with pytest.raises(SetupError, match=r"has not answered once .* is the server up"):
            background.drive([a_task(0)], lambda _: None, lambda _: None)
    finally:
        background.close()
