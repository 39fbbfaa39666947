"""The two processes of `aidsafe dev`: the web server and the daemon. They end together.

Dagster's daemon sleeps until a time of day. When the clock is set back it would wait for the clock
to get there again, so it is started anew. Runs that it has launched go on meanwhile.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from aidsafe_dagster.cli.console import print_plain
from aidsafe_dagster.web_ui.server import TOKEN_VARIABLE, WORKSPACE_FILE

_POLL_S = 0.2
_SET_BACK_S = 5.0
"""By so much at least, since every clock is corrected by less now and then."""
_PATIENCE_S = 15.0
"""For a process that was asked to end; then it is killed."""


class _Ended(Exception):
    """A signal asks to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class WallClock:
    """Notices when the clock on the wall is set back, by the one that nobody sets."""

    def __init__(self) -> None:
        self._ahead_s = time.time() - time.monotonic()

    def was_set_back(self) -> bool:
        """Tell whether it was, since the last time that this was asked."""
        ahead_s = time.time() - time.monotonic()
        is_set_back = ahead_s < self._ahead_s - _SET_BACK_S
        self._ahead_s = ahead_s
        return is_set_back


def run_services(port: int, token: str, socket: Path | None) -> int:
    """Run both until one ends or a signal comes, and return the exit status.

    The status is 128 plus the signal's number, or 1 if a service ended by itself.
    """
    signal.signal(signal.SIGINT, _raise_ended)
    signal.signal(signal.SIGTERM, _raise_ended)
    services: list[subprocess.Popen[bytes]] = []
    try:
        services.append(_start_web_server(port, token, socket))
        services.append(_start_daemon())
        wall_clock = WallClock()
        while all(service.poll() is None for service in services):
            time.sleep(_POLL_S)
            if wall_clock.was_set_back():
                print_plain("The clock was set back: the daemon is started anew.")
                _end(services[1:])
                _make_sensors_due()
                services[1:] = [_start_daemon()]
    except _Ended as ended:
        return 128 + ended.number
    else:
        print_plain("The web server or the daemon has ended by itself; see above.")
        return 1
    finally:
        # A second signal must not interrupt this and leave a process behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _end(services)


def _start_web_server(
    port: int, token: str, socket: Path | None
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "aidsafe_dagster.web_ui.server", str(port)]
    if socket:
        command.append(str(socket))
    return _start(command, {TOKEN_VARIABLE: token})


def _start_daemon() -> subprocess.Popen[bytes]:
    daemon = str(Path(sys.executable).with_name("dagster-daemon"))
    return _start([daemon, "run", "-w", WORKSPACE_FILE], {})


def _start(
    command: Sequence[str], variables: dict[str, str]
) -> subprocess.Popen[bytes]:
    # A session of its own: a Ctrl-C at the terminal reaches this process alone, which then ends
    # the services in order.
    return subprocess.Popen(  # noqa: S603
        command, env={**os.environ, **variables}, start_new_session=True
    )


def _make_sensors_due() -> None:
    # Here and not above: the instance takes long to import, and is rarely needed.
    from aidsafe_dagster.cli.local_runs import open_instance
    from aidsafe_dagster.runs.future_ticks import forget_future_ticks

    with open_instance() as instance:
        forget_future_ticks(instance)


def _end(services: Sequence[subprocess.Popen[bytes]]) -> None:
    for service in services:
        service.terminate()
    deadline = time.monotonic() + _PATIENCE_S
    for service in services:
        try:
            service.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(service.pid, signal.SIGKILL)


def _raise_ended(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    raise _Ended(number)
