"""Commands of a site in processes of their own.

Their environment names the site, so that all its processes can be found and killed.
"""

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

from aidsafe_dagster.recipe.bad_text import ACCEPT_ALL
from aidsafe_dagster.recipe.stages import always_made
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
    **ACCEPT_ALL.model_dump(),
}
AIDSAFE = (sys.executable, "-m", "aidsafe_dagster.cli")
Process = subprocess.Popen[str]


def served_by(server: ModelServer, **driver: Any) -> dict[str, Any]:
    """Settings of a site whose model calls this server answers."""
    return {
        "engine": "endpoint",
        "endpoint": {
            "base_url": server.base_url,
            "model": "fake-model",
            "timeout_s": 20,
        },
        "driver": {"calls_in_flight": SLOTS, "backoff_s": 0.05, "max_backoff_s": 0.2}
        | driver,
        "checks": LENIENT,
    }


def fill(folder: Path, server: ModelServer, count: int = COUNT, **driver: Any) -> None:
    """Create a site with one batch of prompts."""
    with a_site(folder, **served_by(server, **driver)) as site:
        assert site.ingest(prompts_file(site.folder, some_prompts(count))).success


def stage_texts(site: Site) -> dict[str, Any]:
    """The rows of each stage, without the columns that differ between runs."""
    texts = dict[str, Any]()
    for stage in always_made():
        rows = site.lake.rows(stage, BATCH)
        texts[str(stage)] = rows.drop("usage", "conversation", strict=False).rows()
    return texts


@contextmanager
def started(folder: Path, *command: str, **environ: str) -> Iterator[Process]:
    """A command that runs in a site's folder while the block lasts.

    Its output goes to the file `printed` there.
    """
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


def wait_until(
    happened: Callable[[], bool],
    alive: Callable[[], bool] = lambda: True,
    within_s: float = 90.0,
) -> None:
    """Wait until something happens; fail if a process dies meanwhile."""
    deadline = time.monotonic() + within_s
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        assert alive(), "the process ended before"
        time.sleep(0.01)


def is_running(process: Process) -> Callable[[], bool]:
    return lambda: process.poll() is None


def processes_of(folder: Path) -> list[psutil.Process]:
    """The living processes whose environment names the site, except this one."""
    processes = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            is_of_the_site = process.environ().get("DAGSTER_HOME") == str(folder)
            is_alive = process.is_running() and process.status() != psutil.STATUS_ZOMBIE
            if is_of_the_site and is_alive and process.pid != os.getpid():
                processes.append(process)
    return processes


def command_of(process: psutil.Process) -> str:
    """The command line of a process; empty if the process has ended meanwhile."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def kill_all_of(folder: Path) -> None:
    """Send SIGKILL to every process of the site, until there is none."""
    deadline = time.monotonic() + 10
    # One that was killed a moment later may have started another one meanwhile.
    while processes := processes_of(folder):
        assert time.monotonic() < deadline, f"{processes} survive"
        for process in processes:
            with suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        time.sleep(0.01)


def answered_calls(server: ModelServer) -> Counter[tuple[str, str, int]]:
    """How often the server has answered each question, by role, prompt and turn."""
    answered = [call for call in server.log() if call["status"] == "ok"]
    return Counter((call["rule"], call["key"], call["turn"]) for call in answered)
