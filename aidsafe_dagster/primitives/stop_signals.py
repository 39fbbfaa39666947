"""Ctrl-C and SIGTERM: the first one ends a command in good order, a second one ends it at once.

Which signal came, and how often, must not depend on whose handler is installed: Dagster installs
its own for every step, and restores what it takes for the one before. So a thread reads the numbers
of all signals from Python's wake-up descriptor, which serves every handler alike. The handler of
the moment then interrupts the main thread. An interrupt may be swallowed, by a destructor for one.
So whoever works for long asks `received` now and then.

Where SIGINT was ignored when the command began (`nohup`, cron, a script's `&`) it stays without
effect, and SIGTERM ends the command.
"""

import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

_ECHO_S = 0.3
"""Who ends a process and then its group (`timeout`, some supervisors) sends two for one."""
STOP_WITHIN_S = 4.5
"""A command that has not ended by then ends at once. Nothing recorded is lost by that."""
WHAT_IS_SAFE = "Answers are recorded; the same command goes on from there."
_NUMBERS = (signal.SIGINT, signal.SIGTERM)
_SHOW_CURSOR = "\x1b[?25h"
_received: list[int] = []
_received_at: list[float] = []
_raised_at: list[float] = []
_screens: list[int] = []
"""Standard output as it was before the block: Dagster puts a file in its place for every step."""
_pipes: list[int] = []
"""The reading end, while the block lasts."""
_mutex = threading.RLock()


def received() -> signal.Signals | None:
    """Return the signal that asked this command to end; None if there was none."""
    # The listener may not have come round to it yet.
    _read_numbers()
    return signal.Signals(_received[0]) if _received else None


@contextmanager
def stop_signals() -> Iterator[None]:
    """Let the first signal raise KeyboardInterrupt in the block, and the second end the process.

    After a signal the process stays under watch until it is gone: its threads may keep it from
    ending.
    """
    # Python gives signals to the main thread alone.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    is_ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    # Blocked rather than ignored: Dagster copies the handler of SIGINT to SIGTERM.
    if is_ignored:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    reader, writer = os.pipe()
    for end in (reader, writer):
        os.set_blocking(end, False)
    _pipes.append(reader)
    screens_before = len(_screens)
    # It may be closed.
    with suppress(OSError):
        _screens.append(os.dup(1))
    handlers = {number: signal.signal(number, _interrupt) for number in _NUMBERS}
    descriptor = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    hook = sys.unraisablehook
    sys.unraisablehook = _quiet_once_stopped(hook)
    last_resort = logging.lastResort
    if last_resort is not None:
        logging.lastResort = _QuietOnceStopped(last_resort)
    threading.Thread(
        target=_listen, args=(reader,), daemon=True, name="signals"
    ).start()
    try:
        yield
    finally:
        if received() is None:
            logging.lastResort = last_resort
            sys.unraisablehook = hook
            signal.set_wakeup_fd(descriptor)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            if is_ignored:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            with _mutex:
                _pipes.remove(reader)
            while len(_screens) > screens_before:
                os.close(_screens.pop())
            # Wakes the listener up, which closes the other end.
            os.close(writer)


def _quiet_once_stopped(
    hook: Callable[["sys.UnraisableHookArgs"], object],
) -> Callable[["sys.UnraisableHookArgs"], None]:
    """Say nothing about an exception that no one can catch, if a signal came before it."""

    def report(error: "sys.UnraisableHookArgs") -> None:
        if received() is None:
            hook(error)

    return report


class _QuietOnceStopped(logging.Handler):
    """Says nothing of what comes after a signal.

    Where the interrupt meets a destructor or a connection that closes, a library logs it, perhaps
    before the listener has come round. Events of the run have handlers of their own.
    """

    def __init__(self, handler: logging.Handler) -> None:
        super().__init__(handler.level)
        self._handler = handler

    def emit(self, record: logging.LogRecord) -> None:
        if received() is None:
            self._handler.handle(record)


def leave(number: int) -> NoReturn:
    """End a process that a signal has stopped, once everything is closed in good order.

    Python itself would take seconds to take its modules apart, and wait for every thread.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(128 + number)


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    if _is_echo(_raised_at):
        return
    _raised_at.append(time.monotonic())
    raise KeyboardInterrupt


def _is_echo(times: Sequence[float]) -> bool:
    """Tell whether a signal comes so soon after the first one that somebody sent it twice."""
    return bool(times) and time.monotonic() - times[0] < _ECHO_S


def _listen(reader: int) -> None:
    while reader in _pipes:
        select.select([reader], [], [])
        _read_numbers()
    os.close(reader)


def _read_numbers() -> None:
    with _mutex:
        for reader in _pipes:
            with suppress(BlockingIOError):
                for number in os.read(reader, 64):
                    if number in _NUMBERS:
                        _note(number)


def _note(number: int) -> None:
    if _is_echo(_received_at):
        return
    if _received:
        _end_at_once(number)
    _received_at.append(time.monotonic())
    _received.append(number)
    logging.raiseExceptions = False
    limit = threading.Timer(STOP_WITHIN_S, _end_at_once, [number])
    limit.daemon = True
    limit.start()


def _end_at_once(number: int) -> NoReturn:
    """End the process here and now. The system drops its locks, and files appear whole or not."""
    text = f"Ended by {signal.Signals(number).name}. {WHAT_IS_SAFE}\n"
    with suppress(OSError, ValueError):
        for screen in _screens[-1:]:
            # A progress bar hides the cursor while it is drawn.
            if os.isatty(screen):
                text = f"{_SHOW_CURSOR}\n{text}"
            # Not by the console, whose lock the main thread may hold, and only if there is room.
            if select.select([], [screen], [], 0)[1]:
                os.write(screen, text.encode())
    os._exit(128 + number)
