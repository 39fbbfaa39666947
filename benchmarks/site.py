"""A project folder whose engine is the simulated server, and its command line as a measured process."""

import os
import resource
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

from benchmarks.rows import prompt_texts
from benchmarks.server import a_simulated_server
from tests.serving import ModelServer
from tests.site import environment, prepare, prompts_file

_LENIENT = {
    "min_cot_tokens": 1,
    "max_cot_tokens": 100_000,
    "min_refined_share": 0.0,
    "max_refined_ratio": 1000.0,
}
"""The simulated answers are filler, whose lengths mean nothing."""
_FEW = 8


@dataclass(frozen=True)
class Ended:
    """A process that ended: CPU seconds of its own, and its memory at the peak."""

    status: int
    seconds: float
    cpu_s: float
    peak_mb: float


@contextmanager
def a_project(
    server: ModelServer, slots: int, rows: int, batch_size: int, **settings: dict[str, Any]
) -> Iterator[Path]:
    """`rows` prompts, ingested in batches."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "project"
        endpoint = {"base_url": server.base_url, "model": "simulated", "slots": slots}
        ingest = {"batch_size": batch_size}
        prepare(
            folder, engine="endpoint", endpoint=endpoint, checks=_LENIENT, ingest=ingest, **settings
        )
        source = prompts_file(folder, list(prompt_texts(rows)), "prompts")
        aidsafe(
            folder, "ingest", source["path"], "--prompt-column", "prompt", "--licence", "CC0-1.0"
        )
        yield folder


def aidsafe(folder: Path, *arguments: str) -> Ended:
    """Runs a command to its end.

    Raises:
        RuntimeError: it failed; with the last of what it said.
    """
    with tempfile.TemporaryFile() as said:
        started = time.monotonic()
        process = started_aidsafe(folder, *arguments, output=said)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(
                f"aidsafe {' '.join(arguments)}: {said.read()[-2000:].decode(errors='replace')}"
            )
        return _ended(process.returncode, time.monotonic() - started, used)


def started_aidsafe(
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
    """Completions in the journal."""
    file = folder / "data" / "journal.sqlite"
    if not file.exists():
        return 0
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute("SELECT count(*) FROM completions").fetchone()[0])


def least_mb() -> float:
    """Memory at the peak of a run of a few rows: the libraries, and what they set up, whatever the data."""
    with (
        a_simulated_server(_FEW, pace=100) as server,
        a_project(server, _FEW, _FEW, _FEW) as folder,
    ):
        return aidsafe(folder, "backfill").peak_mb


def _ended(status: int, seconds: float, used: resource.struct_rusage) -> Ended:
    return Ended(status, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
