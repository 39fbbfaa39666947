"""One Ctrl-C or SIGTERM ends a process in good order, a second one at once."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.site import ROOT

BOTH = [signal.SIGINT, signal.SIGTERM]
COMMAND = """
import sys, time
from aidsafe_dagster.primitives.stop_signals import leave, received, stop_signals
try:
    with stop_signals():
        {work}
except KeyboardInterrupt:
    print("in order")
    leave(received())
"""
SLEEPS = """
        print("begun", flush=True)
        time.sleep(60)
"""
IN_A_STEP = """
        import dagster
        with dagster.raise_execution_interrupts():
            pass
        try:
            with dagster.raise_execution_interrupts():
                print("begun", flush=True)
                time.sleep(60)
        except BaseException as error:
            raise KeyboardInterrupt from error
"""
HANGS = """
        while True:
            try:
                print("begun", flush=True)
                time.sleep(60)
            except KeyboardInterrupt:
                print("swallowed", flush=True)
"""
CLEANS_UP = """
        try:
            print("begun", flush=True)
            time.sleep(60)
        finally:
            print("cleaning up", flush=True)
            time.sleep(0.2)
            print("cleaned up", flush=True)
"""
WRITES_TO_A_FILE = """
        import os
        screen = os.dup(1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        while True:
            try:
                os.write(screen, b"begun\\n")
                time.sleep(60)
            except KeyboardInterrupt:
                pass
"""
AFTER_THE_ECHO_S = 0.5


@contextmanager
def begun(
    work: str, sigint: signal.Handlers = signal.SIG_DFL
) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND.format(work=work)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, sigint),  # noqa: PLW1509
    ) as process:
        try:
            assert line_of(process) == "begun"
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def rest_of(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=60)
    return output


@pytest.mark.parametrize("number", BOTH)
def test_the_first_signal_ends_the_block_and_is_told_by_the_exit_code(
    number: signal.Signals,
) -> None:
    with begun(SLEEPS) as process:
        process.send_signal(number)
        assert rest_of(process) == "in order\n"
    assert process.returncode == 128 + number


@pytest.mark.parametrize("number", BOTH)
def test_the_signal_is_known_although_dagster_has_handlers_of_its_own(
    number: signal.Signals,
) -> None:
    with begun(IN_A_STEP) as process:
        process.send_signal(number)
        assert rest_of(process) == "in order\n"
    assert process.returncode == 128 + number


@pytest.mark.parametrize("number", BOTH)
def test_a_second_signal_ends_a_process_that_hangs(number: signal.Signals) -> None:
    with begun(HANGS) as process:
        process.send_signal(signal.SIGINT)
        assert line_of(process) == "swallowed"
        time.sleep(AFTER_THE_ECHO_S)
        process.send_signal(number)
        assert rest_of(process).endswith("the same command goes on from there.\n")
    assert process.returncode == 128 + number


@pytest.mark.parametrize("number", BOTH)
def test_two_signals_at_once_count_as_one(number: signal.Signals) -> None:
    with begun(CLEANS_UP) as process:
        process.send_signal(number)
        assert line_of(process) == "cleaning up"
        process.send_signal(number)
        assert rest_of(process) == "cleaned up\nin order\n"
    assert process.returncode == 128 + number


def test_the_last_line_is_seen_although_a_step_writes_to_a_file() -> None:
    with begun(WRITES_TO_A_FILE) as process:
        process.send_signal(signal.SIGTERM)
        assert line_of(process) == "begun"
        time.sleep(AFTER_THE_ECHO_S)
        process.send_signal(signal.SIGTERM)
        assert "Ended by SIGTERM. " in rest_of(process)


def test_a_process_that_swallows_the_signal_ends_after_a_while_all_the_same() -> None:
    with begun(HANGS) as process:
        process.send_signal(signal.SIGTERM)
        assert line_of(process) == "swallowed"
        assert "Ended by SIGTERM. " in rest_of(process)
    assert process.returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize("work", [SLEEPS, IN_A_STEP], ids=["ours", "a step"])
def test_where_sigint_is_ignored_it_stays_so_and_sigterm_ends_the_block(
    work: str,
) -> None:
    with begun(work, signal.SIG_IGN) as process:
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.send_signal(signal.SIGTERM)
        assert rest_of(process) == "in order\n"
    assert process.returncode == 128 + signal.SIGTERM
