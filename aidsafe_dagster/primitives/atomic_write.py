"""Files that appear whole or not at all, a power cut included: written beside their place, and renamed into it.

What a writer leaves beside when it dies is cleared away by the next one. The name says host and process, so that nobody
clears away what is still being written, here or on another host that shares the folder.
"""

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from aidsafe_dagster.recipe.errors import SetupError

_HERE = re.sub(r"[^A-Za-z0-9_-]", "_", socket.gethostname())


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yields a path beside `path` to write; it takes the place of `path` if the block ends well, else it is removed.

    Raises:
        SetupError: the file cannot be written: the disk is full, a quota is used up, the folder is not ours.
    """
    beside = path.with_name(f".{_HERE}-{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear_leftovers(path)
        beside.unlink(missing_ok=True)
        yield beside
        flush(beside)
        beside.replace(path)
    except OSError as error:
        raise SetupError(
            f"{path}: cannot be written ({error.strerror or error}); the file that was there before, if any, is whole. "
            "Make room or give access, then start again"
        ) from error
    finally:
        with suppress(OSError):
            beside.unlink()


def flush(path: Path) -> None:
    """Returns once what was written to the file is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _clear_leftovers(path: Path) -> None:
    """Removes what writers of this host that are no more have left beside the file."""
    ours = re.compile(rf"\.{re.escape(_HERE)}-(\d+)\.{re.escape(path.name)}(\.wal)?")
    for file in path.parent.iterdir():
        found = ours.fullmatch(file.name)
        if found and not psutil.pid_exists(int(found[1])):
            file.unlink(missing_ok=True)
