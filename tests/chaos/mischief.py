"""What is done to commands at random instants. Every deed is printed, and drawn from the seed."""

import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field

from tests.chaos.site import ChaosSite, Process, Size, write_settings
from tests.faults.commands import SLOTS
from tests.faults.disks import fill_up

ENDS_WITHIN_S = 30.0
"""After a signal. It is promised within 5 s, on a machine that does nothing else."""
COMMAND_SHARE = 0.5
"""Of the changes of settings: a command begins under the other ones."""
MOST_COMMANDS = 3
UI_RUNS = 3
"""Runs that the daemon starts at once (`dagster.yaml`)."""


@dataclass
class Mischief:
    """The deeds on one site, and how many calls they may cost."""

    site: ChaosSite
    size: Size
    rng: random.Random
    repeats_allowed: int = 0
    """Calls in flight at a kill, at most: they may be asked again."""
    has_ui: bool = False
    problems: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def tell(self, what: str) -> None:
        """Print what is done, and when."""
        print(f"{time.monotonic() - self.began:7.1f} s  {what}", flush=True)

    def do_something(self) -> None:
        """Do one deed; which one is drawn."""
        name = self.rng.choice(sorted(DEEDS))
        DEEDS[name](self)

    def lose_calls_of(self, workers: int) -> None:
        """Allow for the calls that these processes have in flight."""
        self.repeats_allowed += workers * SLOTS

    @property
    def workers(self) -> int:
        """How many processes may have calls in flight, at most."""
        return len(self.site.living()) + UI_RUNS * self.has_ui


def _signal(mischief: Mischief, number: signal.Signals) -> None:
    living = mischief.site.living()
    if not living:
        return
    process = mischief.rng.choice(living)
    mischief.tell(f"{number.name} to {_name(process)}")
    mischief.lose_calls_of(1)
    process.send_signal(number)
    try:
        process.wait(ENDS_WITHIN_S)
    except subprocess.TimeoutExpired:
        mischief.problems.append(f"{_name(process)} did not end after {number.name}")
        process.kill()


def kill(mischief: Mischief) -> None:
    _signal(mischief, signal.SIGKILL)


def interrupt(mischief: Mischief) -> None:
    _signal(mischief, signal.SIGINT)


def terminate(mischief: Mischief) -> None:
    _signal(mischief, signal.SIGTERM)


def pause(mischief: Mischief) -> None:
    living = mischief.site.living()
    if not living:
        return
    process = mischief.rng.choice(living)
    seconds = mischief.rng.uniform(0.5, 4)
    mischief.tell(f"SIGSTOP to {_name(process)}, SIGCONT after {seconds:.1f} s")
    process.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    process.send_signal(signal.SIGCONT)


def crash_model(mischief: Mischief) -> None:
    seconds = mischief.rng.uniform(0, 4)
    mischief.tell(f"the model server is killed, and back after {seconds:.1f} s")
    mischief.lose_calls_of(mischief.workers)
    mischief.site.model.kill()
    time.sleep(seconds)
    mischief.site.model.start()


def fill_disk(mischief: Mischief) -> None:
    if not mischief.site.disk:
        return
    seconds = mischief.rng.uniform(0.5, 4)
    leave = mischief.rng.choice((0, 20_000, 200_000))
    mischief.tell(f"the disk is full but for {leave} bytes for {seconds:.1f} s")
    # A command that gives up on a full disk loses what waits for the journal.
    mischief.lose_calls_of(mischief.workers)
    ballast = mischief.site.disk / "ballast"
    with suppress(OSError):
        # The commands may take the last page meanwhile.
        fill_up(mischief.site.disk, leave)
    time.sleep(seconds)
    ballast.unlink(missing_ok=True)


def lock_journal(mischief: Mischief) -> None:
    file = mischief.site.folder / "data" / "journal.sqlite"
    if not file.exists():
        return
    seconds = mischief.rng.uniform(0.5, 4)
    begin = mischief.rng.choice(("BEGIN", "BEGIN IMMEDIATE"))
    mischief.tell(f"the journal is read under {begin} for {seconds:.1f} s")
    with closing(sqlite3.connect(file, timeout=30)) as reader:
        reader.isolation_level = None
        with suppress(sqlite3.Error):
            reader.execute(begin)
            reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
            time.sleep(seconds)
            reader.execute("ROLLBACK")


def change_settings(mischief: Mischief) -> None:
    seconds = mischief.rng.uniform(0, 6)
    mischief.tell(f"other settings for {seconds:.1f} s")
    write_settings(mischief.site, mischief.size, is_other=True)
    if mischief.rng.random() < COMMAND_SHARE:
        second_command(mischief)
    time.sleep(seconds)
    write_settings(mischief.site, mischief.size, is_other=False)


def second_command(mischief: Mischief) -> None:
    if len(mischief.site.living()) < MOST_COMMANDS:
        process = mischief.site.start("backfill")
        mischief.tell(f"one more aidsafe backfill ({process.pid})")


DEEDS: Mapping[str, Callable[[Mischief], None]] = {
    deed.__name__: deed
    for deed in (
        kill,
        interrupt,
        terminate,
        pause,
        crash_model,
        fill_disk,
        lock_journal,
        change_settings,
        second_command,
    )
}


def _name(process: Process) -> str:
    arguments = process.args
    assert isinstance(arguments, list)
    return f"aidsafe {arguments[-1]} ({process.pid})"
