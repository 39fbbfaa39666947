"""Commands of a site in processes of their own, found again by the site that their environment names."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from aidsafe_dagster.recipe.records import Stage
from tests.serving import ModelServer
from tests.site import Site, a_site, environment, prompts_file, some_prompts

BATCH = "mine-0001"
COUNT = 10
SLOTS = 8
LENIENT = {
    "min_cot_tokens": 1,
    "max_cot_tokens": 100000,
    "min_refined_share": 0.0,
    "max_refined_ratio": 1000.0,
}
AIDSAFE = (sys.executable, "-m", "aidsafe_dagster.cli")
Process = subprocess.Popen[str]


def served_by(server: ModelServer, **driver: Any) -> dict[str, Any]:
    """Settings of a site whose agents this server answers."""
    return {
        "engine": "endpoint",
        "endpoint": {"base_url": server.base_url, "model": "fake-model", "timeout_s": 20},
        "driver": {"calls_in_flight": SLOTS, "backoff_s": 0.05, "max_backoff_s": 0.2} | driver,
        "checks": LENIENT,
    }


def fill(folder: Path, server: ModelServer, count: int = COUNT, **driver: Any) -> None:
    """Makes a site with one batch of prompts."""
    with a_site(folder, **served_by(server, **driver)) as site:
        assert site.ingest(prompts_file(site.folder, some_prompts(count))).success


def texts_made(site: Site) -> dict[str, Any]:
    """Per stage, prompt and text: what depends on the server's plan alone."""
    return {
        str(stage): site.lake.rows(stage, BATCH).drop("usage", "conversation", strict=False).rows()
        for stage in Stage
    }


@contextmanager
def started(folder: Path, *command: str, **environ: str) -> Iterator[Process]:
    """A command that runs in a site's folder while the block lasts; what it printed is in `printed`."""
    with (folder / "printed").open("a") as printed:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(folder, **environ),
            stdout=printed,
            stderr=printed,
            text=True,
        )
    try:
        yield process
    finally:
        kill_all_of(folder)
        process.wait(30)


def printed(folder: Path) -> str:
    return (folder / "printed").read_text()


def until(
    happened: Callable[[], bool], alive: Callable[[], bool] = lambda: True, within_s: float = 90.0
) -> None:
    """Waits for something to happen; somebody has to live meanwhile."""
    deadline = time.monotonic() + within_s
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        assert alive(), "the process ended before"
        time.sleep(0.01)


def lives(process: Process) -> Callable[[], bool]:
    return lambda: process.poll() is None


def processes_of(folder: Path) -> list[psutil.Process]:
    """Those that live and whose environment names the site, this one excepted."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get("DAGSTER_HOME") == str(folder):
                found.append(process)
    return [
        process
        for process in found
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    ]


def kill_all_of(folder: Path) -> None:
    """SIGKILL to every process of the site at once."""
    for process in processes_of(folder):
        with suppress(psutil.Error):
            process.send_signal(signal.SIGKILL)


def answered(server: ModelServer) -> Counter[tuple[str, str, int]]:
    """How often the server has answered each question well: by role, prompt and turn."""
    return Counter(
        (call["rule"], call["key"], call["turn"]) for call in server.log() if call["status"] == "ok"
    )
