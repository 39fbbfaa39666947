"""Files on a local disk or in an object store, which is asked again while it is busy or away.

The libraries of object stores ask again by themselves, for some seconds at most. A store that is
restarted takes longer, and a batch of many calls should not hang on that. They raise errors of
kinds of their own, so nearly every error counts as one that may pass. And some take a store that is
away for one without the file, so whether it is there is not asked by `exists`.
"""

import logging
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from upath import UPath

from aidsafe_dagster.primitives.atomic_write import atomic_write
from aidsafe_dagster.primitives.held_lock import LockLost
from aidsafe_dagster.primitives.retry import exponential_backoff, retry
from aidsafe_dagster.recipe.errors import StoreUnavailable
from aidsafe_dagster.recipe.secret_mask import mask_url_secrets

WAIT_S = 120.0
"""Longest wait for a store that fails. The journal's database is waited for as long."""
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 10.0
_SHOWN = 300
"""Characters of an error."""
_given_up = set[str]()
"""Stores that were given up. Until one answers, each request to it is made once."""
_LOCAL_PROTOCOLS = ("", "file", "local")
T = TypeVar("T")
logger = logging.getLogger(__name__)


def is_local(path: UPath) -> bool:
    """Tell whether a path is one of this machine's file systems."""
    return path.protocol in _LOCAL_PROTOCOLS


def exists(path: UPath) -> bool:
    """Tell whether there is such a file or folder.

    Raises:
        StoreUnavailable: its store keeps failing.
    """
    if is_local(path):
        return path.exists()
    try:
        ask(path, path.stat)
    except FileNotFoundError:
        return False
    return True


def read(path: UPath) -> bytes:
    """Return the content of a file.

    Raises:
        StoreUnavailable: its store keeps failing.
        OSError: there is no such file, or the disk fails.
    """
    return path.read_bytes() if is_local(path) else ask(path, path.read_bytes)


def names_in(folder: UPath) -> list[str]:
    """Return the names of what is in a folder; empty if there is no such folder.

    Raises:
        StoreUnavailable: its store keeps failing.
    """
    if not exists(folder):
        return []
    if is_local(folder):
        return [path.name for path in folder.iterdir()]
    return ask(folder, lambda: [path.name for path in folder.iterdir()])


def size_of(path: UPath) -> int:
    """Return the bytes of a file.

    Raises:
        StoreUnavailable: its store keeps failing.
        OSError: there is no such file, or the disk fails.
    """
    if is_local(path):
        return path.stat().st_size
    return ask(path, lambda: path.stat().st_size)


def remove(path: UPath) -> None:
    """Remove a file, or a folder with all that is in it; harmless if there is none.

    Raises:
        StoreUnavailable: its store keeps failing.
    """
    if not exists(path):
        return
    if not is_local(path):
        with suppress(FileNotFoundError):
            ask(path, lambda: path.fs.rm(path.path, recursive=True))
    elif path.is_dir():
        shutil.rmtree(str(path))
    else:
        path.unlink()


def write(path: UPath, content: bytes, fence: Callable[[], None] | None = None) -> None:
    """Write a file, which appears whole or not at all: a put on an object store is atomic.

    Args:
        path: its folder need not exist.
        content: of the file.
        fence: called right before the write. It raises once this process may write no more.

    Raises:
        StoreUnavailable: the store keeps failing, or has no such bucket.
    """
    if is_local(path):
        with atomic_write(Path(str(path)), fence=fence) as temporary:
            temporary.write_bytes(content)
        return

    def put() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if fence:
            fence()
        path.write_bytes(content)

    try:
        ask(path, put)
    except FileNotFoundError as error:
        raise StoreUnavailable(
            f"{_shown(path)}: cannot be written: there is no such bucket, or folder"
        ) from error


def ask(path: UPath, request: Callable[[], T], wait_s: float = WAIT_S) -> T:
    """Return the answer to an idempotent request for a file or folder of a remote store.

    Args:
        path: of what is asked for; named if the store keeps failing.
        request: raises FileNotFoundError if there is no such file, which is an answer.
        wait_s: how long it is asked again. A request that is under way then ends first.

    Raises:
        StoreUnavailable: the store failed all the time, or refuses access.
        FileNotFoundError: it has no such file.
    """
    store = f"{path.protocol}://{path.drive}"
    deadline = time.monotonic() + (0.0 if store in _given_up else wait_s)

    def wait_before(error: Exception, failed_attempts: int) -> float:
        if isinstance(error, FileNotFoundError):
            # The store is there.
            _given_up.discard(store)
        if isinstance(error, FileNotFoundError | LockLost):
            raise error
        words = f"{type(error).__name__}: {str(error)[:_SHOWN]}"
        if isinstance(error, PermissionError):
            raise StoreUnavailable(
                f"{_shown(path)}: the store refuses access ({words}). "
                "Check the names of the bucket and the key, and what the key may do"
            ) from error
        if time.monotonic() > deadline:
            _given_up.add(store)
            raise StoreUnavailable(
                f"{_shown(path)}: the store has failed for {wait_s:.0f} s ({words}). What is "
                "stored and all answers are safe; start again once the store is back"
            ) from error
        if failed_attempts == 1:
            logger.warning(
                "%s: the store fails (%s); it is asked again for up to %.0f s",
                _shown(path),
                words,
                wait_s,
            )
        return exponential_backoff(failed_attempts, _FIRST_PAUSE_S, _LONGEST_PAUSE_S)

    answer = retry(request, Exception, wait_before)
    _given_up.discard(store)
    return answer


def _shown(path: UPath) -> str:
    return mask_url_secrets(str(path))
