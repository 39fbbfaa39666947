"""A drive in which nothing moves says so in the run's log."""

import threading
from pathlib import Path

from aidsafe_dagster.engines.driver.background_driver import BackgroundDriver
from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.engines.driver.settings import DriverSettings
from aidsafe_dagster.engines.driver.stall_watch import StallWatch
from aidsafe_dagster.engines.endpoint import EndpointEngine
from aidsafe_dagster.engines.settings import EndpointSettings
from tests.engines.dialects import Received, Reply, a_chat_completion, a_dialect_server
from tests.engines.driving import some_tasks


def test_a_server_that_is_silent_is_told_of_while_the_run_waits(tmp_path: Path) -> None:
    lines: list[str] = []
    is_told = threading.Event()

    def log(line: str) -> None:
        lines.append(line)
        if "nothing has moved" in line:
            is_told.set()

    def answer(_: Received) -> Reply:
        is_told.wait(20)
        return Reply(a_chat_completion('{"belief": "so"}'))

    with a_dialect_server(answer) as server:
        settings = EndpointSettings(base_url=server.base_url, model="m", slots=2)
        driver = BackgroundDriver(
            lambda _: EndpointEngine(settings),
            f"sqlite:///{tmp_path / 'journal.sqlite'}",
            DriverSettings(stall_s=0.5),
        )
        try:
            results, _ = driver.drive(some_tasks(3), lambda _: None, log)
        finally:
            driver.close()
    assert results == ["sososo"] * 3
    (told, *_) = [line for line in lines if "nothing has moved" in line]
    assert "2 calls in flight, 3 rows open" in told


def test_what_moves_is_not_told_of_and_a_silent_driver_is() -> None:
    lines: list[str] = []
    progress = Progress(rows=2)
    watch = StallWatch(progress, 0.0, lines.append)
    for _ in range(3):
        progress.calls_made += 1
        watch.look()
    assert lines == []
    progress.ticked -= 1000
    watch.look()
    assert "the driver itself has not answered for 1000 s" in lines[0]
