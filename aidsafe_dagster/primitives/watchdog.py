"""A watchdog: interrupts this process, as Ctrl-C would, once its work must not go on.

It does not send itself SIGINT. A shell starts a background command with SIGINT ignored, and so do
cron and many CI runners; children inherit that. Such a process must stop all the same: another one
may be at work in its place. So the watchdog has a signal of its own.
"""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNAL = signal.SIGURG
"""By default the system ignores it, so a late one does no harm."""
PATIENCE_S = 30.0
"""How long an interrupted block may take to clean up. Then it is interrupted once more, and after
as long again the process ends at once."""
EXIT_CODE = 75
"""Of a process that did not heed its watchdog: EX_TEMPFAIL, since the same work may be repeated."""
_JOIN_S = 2.0
logger = logging.getLogger(__name__)


@contextmanager
def watchdog(may_go_on: Callable[[], bool], every_s: float) -> Iterator[None]:
    """Check again and again while the block lasts, and interrupt the main thread if it must stop.

    Args:
        may_go_on: called in a thread of its own; the first False interrupts, and ends the watch.
        every_s: seconds between two checks; the first comes at once.
    """
    watch = _Watch()

    def keep_watch() -> None:
        while not watch.is_over.is_set():
            if not _checked(may_go_on):
                watch.end_block()
                return
            watch.is_over.wait(every_s)

    thread = threading.Thread(target=keep_watch, daemon=True, name="watchdog")
    with _interruptible():
        thread.start()
        try:
            yield
        finally:
            watch.close()
            # Not for ever: a check may hang, as one does that asks a host out of reach.
            thread.join(_JOIN_S)


def _checked(may_go_on: Callable[[], bool]) -> bool:
    """Return what a check says. One that fails, as on a full disk, is made again next time."""
    try:
        return may_go_on()
    except Exception as error:  # noqa: BLE001 - a watch that ends unseen watches nothing
        logger.warning("a check of the watchdog failed: %s", error)
        return True


class _Watch:
    """One block that is watched."""

    def __init__(self) -> None:
        self.is_over = threading.Event()
        self._mutex = threading.Lock()

    def close(self) -> None:
        """Let no interrupt hit what comes after the block."""
        with self._mutex:
            self.is_over.set()

    def end_block(self) -> None:
        """Interrupt the main thread until the block is over, and in the end the whole process."""
        for _ in range(2):
            with self._mutex:
                if self.is_over.is_set():
                    return
                _interrupt_main_thread()
            if self.is_over.wait(PATIENCE_S):
                return
        logger.critical("this process must stop and does not; it ends at once")
        os._exit(EXIT_CODE)


def _interrupt_main_thread() -> None:
    """Raise KeyboardInterrupt there, or whatever else the main thread makes of Ctrl-C."""
    if signal.getsignal(_SIGNAL) is _raise:
        main_thread = threading.main_thread().ident
        assert main_thread is not None
        # To that thread itself, so that it wakes up from whatever it waits for.
        signal.pthread_kill(main_thread, _SIGNAL)
        return
    # The watch began outside of the main thread, which alone can install a handler.
    # Ignored and default handling are constants, which cannot be called.
    is_handled = callable(signal.getsignal(signal.SIGINT))
    os.kill(os.getpid(), signal.SIGINT if is_handled else signal.SIGTERM)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Install the handler; Python lets only the main thread do that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(_SIGNAL, _raise)
    try:
        yield
    finally:
        signal.signal(_SIGNAL, before)


def _raise(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    """Do what a Ctrl-C would do at this moment, also where SIGINT itself is ignored."""
    handler = signal.getsignal(signal.SIGINT)
    # Dagster has a handler of its own while it runs a step, and while it writes its events.
    if callable(handler):
        handler(signal.SIGINT, frame)
        return
    raise KeyboardInterrupt
