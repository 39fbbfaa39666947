"""RateFile: what the processes of a machine know together of a server's rate limit.

A small file, read, changed and written in place while it is locked, which takes some hundredths of
a millisecond. It is touched only once a limit is set or learned. A process that is killed in
between leaves what one write has written, and a file that cannot be read is as good as none.
"""

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from aidsafe_dagster.engines.driver.rate_state import RateState

_TIMEOUT_S = 0.2
"""Short, since the event loop stands still while this process waits for the file."""
_PAUSE_S = 0.0005
_MAX_BYTES = 4096
_RateState = TypeAdapter(RateState)
logger = logging.getLogger(__name__)


class RateFile:
    """The state of one server's limiter, in a file that all processes share.

    A file that cannot be used is reported once and tried again with the next call. Meanwhile this
    process goes by what it knows itself.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int] | None = None
        """Time of change and inode of the file when it was last read or written."""
        self._has_failed = False

    @contextmanager
    def change(self, own: RateState) -> Iterator[RateState]:
        """Yield the shared state, or `own` if there is none, and write what becomes of it."""
        descriptor = self._open()
        if descriptor is None:
            yield own
            return
        try:
            state = _read(descriptor) or own
            yield state
            self._write(descriptor, state)
        finally:
            os.close(descriptor)

    def read_if_changed(self) -> RateState | None:
        """Return the state if another process has changed it. Costs one look at the folder."""
        try:
            if _identity(self.path.stat()) == self._seen:
                return None
            descriptor = os.open(self.path, os.O_RDONLY)
        except OSError:
            # No limit is known to any process yet.
            return None
        try:
            self._seen = _identity(os.fstat(descriptor))
            return _read(descriptor)
        finally:
            os.close(descriptor)

    def _open(self) -> int | None:
        """Return the file, open and locked. None if it cannot be had."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            self._report(error)
            return None
        try:
            _lock(descriptor)
        except OSError as error:
            os.close(descriptor)
            self._report(error)
            return None
        return descriptor

    def _write(self, descriptor: int, state: RateState) -> None:
        try:
            text = _RateState.dump_json(state)
            # One write of a length that never shrinks to half a state.
            os.pwrite(descriptor, text.ljust(_MAX_BYTES), 0)
            self._seen = _identity(os.fstat(descriptor))
            self._has_failed = False
        except OSError as error:
            self._report(error)

    def _report(self, error: OSError) -> None:
        if not self._has_failed:
            logger.warning(
                "%s: the rate limit is not shared with other runs for now (%s)",
                self.path,
                error.strerror or error,
            )
        self._has_failed = True


def _lock(descriptor: int) -> None:
    deadline = time.monotonic() + _TIMEOUT_S
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        if time.monotonic() > deadline:
            raise TimeoutError("another process holds it")
        time.sleep(_PAUSE_S)


def _read(descriptor: int) -> RateState | None:
    try:
        return _RateState.validate_json(os.pread(descriptor, _MAX_BYTES, 0))
    except (OSError, ValidationError):
        return None


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_mtime_ns, status.st_ino
