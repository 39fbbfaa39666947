"""A project whose engine is the simulated server, and its command line as a measured process."""

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aidsafe_dagster.recipe.bad_text import ACCEPT_ALL
from benchmarks.rows import prompt_texts
from benchmarks.server import a_simulated_server
from tests.serving import ModelServer
from tests.site import environment, prepare, prompts_file

_LENIENT = {
    "min_cot_tokens": 1,
    "max_cot_tokens": 100_000,
    "min_refined_share": 0.0,
    "max_refined_ratio": 1000.0,
    **ACCEPT_ALL.model_dump(),
}
"""The simulated answers are filler, so their lengths mean nothing."""
_FEW = 8


@dataclass(frozen=True)
class FinishedProcess:
    """A process that has ended, with its CPU seconds and its peak memory."""

    status: int
    seconds: float
    cpu_s: float
    peak_mb: float


@contextmanager
def a_project(
    server: ModelServer,
    slots: int,
    rows: int,
    batch_size: int,
    **settings: dict[str, Any],
) -> Iterator[Path]:
    """Make a project with so many prompts, ingested in batches."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "project"
        endpoint = {"base_url": server.base_url, "model": "simulated", "slots": slots}
        ingest = {"batch_size": batch_size}
        prepare(
            folder,
            engine="endpoint",
            endpoint=endpoint,
            checks=_LENIENT,
            ingest=ingest,
            **settings,
        )
        source = prompts_file(folder, list(prompt_texts(rows)), "prompts")
        aidsafe(
            folder,
            "ingest",
            source["path"],
            "--prompt-column",
            "prompt",
            "--licence",
            "CC0-1.0",
        )
        yield folder


def aidsafe(folder: Path, *arguments: str) -> FinishedProcess:
    """Run a command to its end.

    Raises:
        RuntimeError: it failed. The message holds the end of its output.
    """
    with tempfile.TemporaryFile() as output:
        started = time.monotonic()
        process = start_aidsafe(folder, *arguments, output=output)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            tail = output.read()[-2000:].decode(errors="replace")
            raise RuntimeError(f"aidsafe {' '.join(arguments)}: {tail}")
        seconds = time.monotonic() - started
        return FinishedProcess(
            status=process.returncode,
            seconds=seconds,
            cpu_s=usage.ru_utime + usage.ru_stime,
            peak_mb=usage.ru_maxrss / 1024,
        )


def start_aidsafe(
    folder: Path, *arguments: str, output: Any = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "aidsafe_dagster.cli", *arguments],
        cwd=folder,
        env=environment(folder),
        stdout=output,
        stderr=subprocess.STDOUT,
    )


def journaled(folder: Path) -> int:
    """Return the number of completions in the journal."""
    file = folder / "data" / "journal.sqlite"
    if not file.exists():
        return 0
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute("SELECT count(*) FROM completions").fetchone()[0])


def baseline_mb() -> float:
    """Return the peak memory of a run of a few rows, which is what the libraries take."""
    with (
        a_simulated_server(_FEW, pace=100) as server,
        a_project(server, _FEW, _FEW, _FEW) as folder,
    ):
        return aidsafe(folder, "backfill").peak_mb
