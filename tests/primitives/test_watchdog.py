"""A watchdog interrupts its process, also where SIGINT is ignored."""

import signal
import subprocess
import sys
import time

import pytest

from aidsafe_dagster.primitives.watchdog import watchdog
from tests.site import ROOT

WATCHED = """
import time
from aidsafe_dagster.primitives.watchdog import watchdog
started = time.monotonic()
try:
    with watchdog(lambda: time.monotonic() - started < 0.2, every_s=0.05):
        time.sleep(60)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize(
    "sigint", [signal.SIG_IGN, signal.SIG_DFL], ids=["ignored", "default"]
)
def test_work_that_must_stop_is_interrupted(sigint: signal.Handlers) -> None:
    completed = subprocess.run(
        [sys.executable, "-c", WATCHED],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, sigint),
    )
    assert completed.stdout == "interrupted\n"


def test_work_that_may_go_on_is_checked_again_and_again_until_it_ends() -> None:
    checks = list[float]()

    def may_go_on() -> bool:
        checks.append(time.monotonic())
        return True

    before = signal.getsignal(signal.SIGURG)
    with watchdog(may_go_on, every_s=0.01):
        while len(checks) < 5:
            time.sleep(0.01)
    count = len(checks)
    time.sleep(0.05)
    assert len(checks) == count
    assert signal.getsignal(signal.SIGURG) is before
