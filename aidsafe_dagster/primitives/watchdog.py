"""A watchdog: interrupts this process, as Ctrl-C would, once its work must not go on."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_STAND_IN = signal.SIGURG
"""Sent where SIGINT is ignored. By default the system ignores it, so a late one does no harm."""


@contextmanager
def watchdog(may_go_on: Callable[[], bool], every_s: float) -> Iterator[None]:
    """Check again and again while the block lasts, and interrupt the main thread if it must stop.

    Args:
        may_go_on: called in a thread of its own; the first False interrupts, and ends the watch.
        every_s: seconds between two checks; the first comes at once.
    """
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            if not may_go_on():
                interrupt_this_process()
                return
            done.wait(every_s)

    thread = threading.Thread(target=watch, daemon=True, name="watchdog")
    with _interruptible():
        thread.start()
        try:
            yield
        finally:
            done.set()
            # A check that is under way may still interrupt, which must not hit what comes after.
            thread.join()


def interrupt_this_process() -> None:
    """Raise KeyboardInterrupt in the main thread, or whatever else it makes of Ctrl-C.

    A shell starts a background command with SIGINT ignored, and its children inherit that. Such a
    process must stop all the same: another one may be at work in its place.
    """
    # Ignored and default handling are constants, which cannot be called.
    if callable(signal.getsignal(signal.SIGINT)):
        number = signal.SIGINT
    elif signal.getsignal(_STAND_IN) is _raise:
        number = _STAND_IN
    else:
        number = signal.SIGTERM
    os.kill(os.getpid(), number)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Install the handler of the stand-in; Python lets only the main thread do that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(_STAND_IN, _raise)
    try:
        yield
    finally:
        signal.signal(_STAND_IN, before)


def _raise(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    raise KeyboardInterrupt
