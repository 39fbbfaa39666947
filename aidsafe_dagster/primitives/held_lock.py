"""A held lock means a living process.

Whoever works on something that only one process may work on holds a lock while doing so. The
operating system or the database drops the lock when its holder dies, however that happens. A lock
therefore answers two questions at once: whose turn it is, and whether the holder is still alive.
No pid, start time or clock is compared.

A lock can be lost under a living process: its file is removed, or the database ends the session
while the process is paused or cut off. So whoever writes on the strength of a lock confirms it
right before each write (`HeldLock.confirm`): the lock is a fence, and not only a queue.

There are two kinds: a locked file for the processes of one host (`lock_file.py`), and an advisory
lock of PostgreSQL for the processes of all hosts that share a database (`advisory_lock.py`).
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext


class LockLost(Exception):
    """A lock that this process held may be another's now, so the process must write no more."""


class HeldLock(ABC):
    """A lock that one process holds at a time, until it lets go or dies."""

    poll_s = 0.05
    """How often a waiting process tries again."""

    def __init__(self, name: str) -> None:
        self.name = name
        """What the lock is for, as in messages: `batch mine-0001`."""
        self._is_lost = False

    @property
    def fencing_token(self) -> tuple[int, int] | None:
        """Key and number that stay in the database `lock_tokens` until another one takes the lock.

        None where the lock is on one host and has no such number, or was never taken.
        """
        return None

    @contextmanager
    def hold(
        self,
        holder: str,
        on_wait: Callable[[str], None] = lambda message: None,  # noqa: ARG005
        timeout_s: float | None = None,
    ) -> Iterator[None]:
        """Hold the lock while the block lasts; wait first if another process has it.

        Args:
            holder: how waiting processes are told who has the lock.
            on_wait: called once, with a message that names the holder, if this process has to wait.
            timeout_s: seconds to wait at most; None waits for ever.

        Raises:
            TimeoutError: the lock did not become free in time.
            SetupError: the lock cannot be used at all.
        """
        # Within the `try`: an interrupt may come between taking the lock and the block.
        try:
            self._acquire(holder, on_wait, timeout_s)
            with self._watch():
                yield
        finally:
            self.release()

    @abstractmethod
    def try_hold(self, holder: str) -> bool:
        """Take the lock if it is free; True if this object holds it now."""

    @abstractmethod
    def release(self) -> None:
        """Let go of the lock; harmless if this object does not hold it."""

    @abstractmethod
    def holder(self) -> str | None:
        """Return who holds the lock; None if nobody does."""

    def is_held(self) -> bool:
        """Tell whether a living process holds the lock."""
        return self.holder() is not None

    def confirm(self) -> None:
        """Return if the lock is still ours at this moment, or was released in good order.

        Called from any thread, right before a write that needs the lock.

        Raises:
            LockLost: it was lost. It stays lost, whoever holds it now.
            SetupError: nobody can tell, since the database has been away for too long.
        """
        if not self._is_lost and not self._is_kept():
            self._is_lost = True
        if self._is_lost:
            raise LockLost(
                f"{self.name} was lost to another process; nothing is written"
            )

    @abstractmethod
    def _is_kept(self) -> bool:
        """Tell whether the lock, once taken, was ours all the time until now or its release."""

    def _acquire(
        self, holder: str, on_wait: Callable[[str], None], timeout_s: float | None
    ) -> None:
        if self.try_hold(holder):
            return
        # The holder may have let go meanwhile, or not have written its name yet.
        current = self.holder() or "another process"
        on_wait(f"{self.name} is being worked on by {current}; waiting for it to end")
        started = time.monotonic()
        while not self.try_hold(holder):
            waited_s = time.monotonic() - started
            if timeout_s is not None and waited_s > timeout_s:
                current = self.holder() or current
                raise TimeoutError(f"{self.name} is still held by {current}")
            time.sleep(self.poll_s)

    def _watch(self) -> AbstractContextManager[None]:
        """Look after the lock while it is held; a lock that cannot be lost needs nothing."""
        return nullcontext()
