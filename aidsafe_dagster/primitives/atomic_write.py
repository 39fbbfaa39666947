"""Atomic writes: a file appears whole or not at all, even if the power fails.

It is written beside its place and renamed into it. If a writer dies, the next one clears away what
it left. The temporary name holds host and process, so that nobody clears away what is still being
written, here or on another host that shares the folder.
"""

import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from aidsafe_dagster.recipe.errors import SetupError

_HOST = re.sub(r"[^A-Za-z0-9_-]", "_", socket.gethostname())


@contextmanager
def atomic_write(
    path: Path, *, durable: bool = True, fence: Callable[[], None] | None = None
) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it replaces `path` if the block succeeds.

    Args:
        path: the file to write; its folder is created if need be.
        durable: wait until the file is on the disk. False is for what is worthless after a crash.
        fence: called right before the file is replaced. It raises if this process must not do that
            any more, and then the file stays as it was.

    Raises:
        SetupError: the file cannot be written: disk full, quota used up, or no access.
    """
    # In the same folder: a rename is atomic only within one file system.
    temporary = path.with_name(f".{_HOST}-{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear_leftovers(path)
        temporary.unlink(missing_ok=True)
        yield temporary
        if durable:
            flush(temporary)
        if fence:
            fence()
        temporary.replace(path)
    except OSError as error:
        raise SetupError(
            f"{path}: cannot be written ({error.strerror or error}); "
            "the file that was there before, if any, is whole. "
            "Make room or give access, then start again"
        ) from error
    finally:
        # After a success there is nothing to remove any more.
        with suppress(OSError):
            temporary.unlink()


def write_text(path: Path, text: str, *, durable: bool = True) -> Path:
    """Write a text in UTF-8 by an atomic write; return its path.

    Raises:
        SetupError: see `atomic_write`.
    """
    with atomic_write(path, durable=durable) as temporary:
        temporary.write_text(text, "utf-8")
    return path


def replace_folder(new: Path, folder: Path) -> None:
    """Move a finished folder to its place. What was there before is removed only after that."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    old = folder.with_name(f".{folder.name}-{os.getpid()}")
    if folder.exists():
        folder.replace(old)
    new.replace(folder)
    shutil.rmtree(old, ignore_errors=True)


def flush(path: Path) -> None:
    """Return once everything written to the file is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _clear_leftovers(path: Path) -> None:
    """Remove what dead writers of this host left beside the file."""
    # DuckDB keeps a write-ahead log beside the file it writes.
    leftover = re.compile(
        rf"\.{re.escape(_HOST)}-(\d+)\.{re.escape(path.name)}(\.wal)?"
    )
    for file in path.parent.iterdir():
        match = leftover.fullmatch(file.name)
        if match and not psutil.pid_exists(int(match[1])):
            file.unlink(missing_ok=True)
