"""A locked file: the lock that the processes of one host share."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from aidsafe_dagster.primitives.held_lock import HeldLock
from aidsafe_dagster.recipe.errors import SetupError


class LockFile(HeldLock):
    """Holds a file by `flock`. The kernel drops the lock when the process ends.

    The file says who holds it. A lasting lock keeps its file; a `temporary` one removes the file
    when it is released, or when somebody finds that its holder died.
    """

    def __init__(self, path: Path, name: str = "", *, temporary: bool = False) -> None:
        super().__init__(name or str(path))
        self.path = path
        self._temporary = temporary
        self._descriptor: int | None = None

    def try_hold(self, holder: str) -> bool:
        if self._descriptor is not None:
            return True
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = self._lock()
        except OSError as error:
            raise self._error(error) from error
        if self._descriptor is None:
            return False
        # On a full disk the lock still counts. It only has no name to show.
        with suppress(OSError):
            os.truncate(self._descriptor, 0)
            os.pwrite(self._descriptor, holder.encode(), 0)
        return True

    def release(self) -> None:
        if self._descriptor is None:
            return
        # Removed while still locked. A process that waits for the old file notices and opens anew.
        if self._temporary:
            with suppress(OSError):
                self.path.unlink()
        os.close(self._descriptor)
        self._descriptor = None

    def _is_kept(self) -> bool:
        if self._descriptor is None:
            return True
        try:
            held = os.fstat(self._descriptor)
            return os.path.samestat(held, self.path.stat())
        except FileNotFoundError:
            # Somebody cleared the folder. Whoever comes first now locks a new file.
            return self._lock_anew()
        except OSError:
            # The folder cannot be seen, so another process may be at work behind our back.
            return False

    def _lock_anew(self) -> bool:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = self._lock()
        except OSError:
            return False
        if descriptor is None:
            return False
        # The old descriptor stays open: another thread may be looking at it.
        self._descriptor = descriptor
        return True

    def holder(self) -> str | None:
        try:
            with self.path.open("rb") as file:
                # A shared lock: two processes that look at the same time do not mistake each
                # other for the holder.
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                if self._temporary:
                    self._remove(file.fileno())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except BlockingIOError:
            # Empty for the moment between taking the lock and writing the name.
            return self._read_holder() or "another process"
        except OSError as error:
            raise self._error(error) from error
        return None

    def _lock(self) -> int | None:
        # Not truncated here: until the lock is taken, the name in the file is another's.
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if self._is_locked_in_place(descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    def _remove(self, descriptor: int) -> None:
        """Remove the file of a dead process, unless somebody takes the lock at this moment."""
        if self._is_locked_in_place(descriptor):
            self.path.unlink(missing_ok=True)

    def _is_locked_in_place(self, descriptor: int) -> bool:
        """Lock an open file; True if it is locked and still the one at `path`.

        Another process may have removed it since it was opened, and a lock on a file without a
        name keeps nobody out.
        """
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return os.path.samestat(os.fstat(descriptor), self.path.stat())
        except (BlockingIOError, FileNotFoundError):
            return False

    def _error(self, error: OSError) -> SetupError:
        return SetupError(
            f"{self.path}: cannot be locked ({error.strerror or error}). "
            "The folder has to be writable, on a file system that supports flock"
        )

    def _read_holder(self) -> str:
        try:
            return self.path.read_text("utf-8", "replace")
        except OSError:
            return ""
