"""Commands of a site as forks of a process that has imported everything: quick to start."""

import importlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from tests.site import environment

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["aidsafe_dagster.cli.batches", "aidsafe_dagster.cli.ingest", "great_expectations"]
)


@contextmanager
def forked(
    folder: Path, *arguments: str, dies_at: tuple[str, int] | None = None
) -> Iterator[ForkServerProcess]:
    """`aidsafe` with these arguments, while the block lasts.

    Its output goes to `printed-<pid>`. `dies_at` names a function, `module:name`, and the number of
    the call at which the process is killed.
    """
    process = _CONTEXT.Process(target=_aidsafe, args=(folder, arguments, dies_at))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join(30)


def printed_by(folder: Path, process: ForkServerProcess) -> str:
    """The output of a fork so far."""
    file = folder / f"printed-{process.pid}"
    return file.read_text() if file.exists() else ""


def _aidsafe(
    folder: Path, arguments: tuple[str, ...], dies_at: tuple[str, int] | None
) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment(folder))
    with Path(f"printed-{os.getpid()}").open("w") as printed:
        os.dup2(printed.fileno(), sys.stdout.fileno())
        os.dup2(printed.fileno(), sys.stderr.fileno())
    from aidsafe_dagster.cli.app import app

    if dies_at:
        _die_at(*dies_at)
    app(list(arguments))


def _die_at(place: str, call: int) -> None:
    module, _, path = place.partition(":")
    *owners, name = path.split(".")
    owner: Any = importlib.import_module(module)
    for part in owners:
        owner = getattr(owner, part)
    original, calls = getattr(owner, name), 0

    def deadly(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **named)

    setattr(owner, name, deadly)
