"""A chaos run: commands and mischief, then an undisturbed command, then the comparison."""

import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.comparison import (
    differences,
    leftovers,
    places_of_the_key,
    repeats,
)
from tests.chaos.mischief import Mischief
from tests.chaos.model import Model, a_model
from tests.chaos.site import KEY, ChaosSite, Process, Size, fill, write_settings
from tests.faults.disks import a_small_disk, can_mount
from tests.faults.web_ui import a_web_ui

DISK_BYTES = 400_000_000
UI_SHARE = 0.1
"""Of the deeds: runs are launched in the web UI, beside commands."""
UI_DEEDS = 4
"""Deeds while the web UI is there."""
INGEST_SHARE = 0.3
"""Of the commands that are started: an ingestion."""
COMMAND_S = 900.0
"""Longest time for an undisturbed command."""


@dataclass(frozen=True)
class Plan:
    """What is run, and for how long."""

    seed: int
    size: Size
    minutes: float
    has_ui: bool = True


@dataclass(frozen=True)
class Verdict:
    """What came of it."""

    problems: tuple[str, ...]
    repeats: int
    """Calls that were answered again."""
    repeats_allowed: int
    """Calls that were in flight at a kill, at most."""


def run_chaos(plan: Plan, folder: Path) -> Verdict:
    """Make the same batches with and without faults, and compare.

    Args:
        plan: what is run.
        folder: empty; all that is made lies in it, or on a small disk that is mounted in it.
    """
    with ExitStack() as stack:
        clean_model = stack.enter_context(
            a_model(folder / "clean-model", plan.seed, is_clean=True)
        )
        model = stack.enter_context(
            a_model(folder / "model", plan.seed, is_clean=False)
        )
        clean = stack.enter_context(_a_site(folder / "clean", clean_model, plan.size))
        site = stack.enter_context(_a_site(folder / "chaos", model, plan.size))
        mischief = Mischief(site, plan.size, random.Random(plan.seed))
        for source in ("first", "second"):
            _run_to_end(clean, "ingest", f"{source}.jsonl")
        clean_run = clean.start("backfill")
        _run_to_end(site, "ingest", "first.jsonl")
        _make_mischief(mischief, plan)
        mischief.tell("no more mischief; everything is made to its end")
        mischief.problems += _finish(mischief)
        if clean_run.wait(COMMAND_S):
            mischief.problems.append(f"the clean run failed: {clean.printed}")
        return _verdict(mischief, clean, folder)


def _verdict(mischief: Mischief, clean: ChaosSite, folder: Path) -> Verdict:
    site = mischief.site
    repeated = repeats(site.model.folder / "answers")
    allowed = mischief.repeats_allowed
    problems = [
        *mischief.problems,
        *leftovers(site.folder),
        *differences(site.folder, clean.folder),
        *places_of_the_key(folder, KEY),
    ]
    if repeated > allowed:
        problems.append(f"{repeated} calls were answered again; {allowed} may be")
    return Verdict(tuple(problems), repeated, allowed)


@contextmanager
def _a_site(base: Path, model: Model, size: Size) -> Iterator[ChaosSite]:
    base.mkdir()
    disk = base / "disk" if can_mount() else None
    with a_small_disk(disk, DISK_BYTES) if disk else nullcontext():
        site = ChaosSite(base, model, disk)
        fill(site, size)
        try:
            yield site
        finally:
            site.settle()


def _make_mischief(mischief: Mischief, plan: Plan) -> None:
    deadline = time.monotonic() + 60 * plan.minutes
    while time.monotonic() < deadline:
        if plan.has_ui and mischief.rng.random() < UI_SHARE:
            _make_mischief_beside_the_ui(mischief)
        else:
            _disturb(mischief)


def _disturb(mischief: Mischief) -> None:
    """Start a command if none is there, and do one deed a little later."""
    if not mischief.site.living():
        _start_command(mischief)
    _wait_a_little(mischief)
    mischief.do_something()


def _start_command(mischief: Mischief) -> None:
    arguments = ["backfill"]
    if mischief.rng.random() < INGEST_SHARE:
        arguments = ["ingest", "second.jsonl"]
    process = mischief.site.start(*arguments)
    mischief.tell(f"aidsafe {' '.join(arguments)} ({process.pid})")


def _make_mischief_beside_the_ui(mischief: Mischief) -> None:
    batches = mischief.site.batches
    mischief.tell(f"the web UI and its daemon; a backfill of {', '.join(batches)}")
    with a_web_ui(mischief.site.folder, environ={"AIDSAFE_API_KEY": KEY}) as ui:
        mischief.has_ui = True
        ui.backfill_job(batches)
        for _ in range(UI_DEEDS):
            _disturb(mischief)
        _wait_a_little(mischief)
        mischief.tell("every process of the site is killed")
        mischief.lose_calls_of(mischief.workers)
    mischief.has_ui = False


def _wait_a_little(mischief: Mischief) -> None:
    """Wait for some answers, or for some seconds, whatever comes first."""
    site = mischief.site
    answers = site.model.answered() + mischief.rng.randrange(1, 60)
    deadline = time.monotonic() + mischief.rng.uniform(0.5, 15)
    while site.model.answered() < answers and time.monotonic() < deadline:
        time.sleep(0.02)


def _finish(mischief: Mischief) -> Iterator[str]:
    """Let living commands end, and run what is left; yield what goes wrong."""
    site = mischief.site
    for process in site.living():
        yield from _fate(site, process, "a disturbed command")
    write_settings(site, mischief.size, is_other=False)
    for arguments in (("ingest", "second.jsonl"), ("backfill",)):
        process = site.start(*arguments)
        code = _wait_for(process)
        if code != 0:
            yield f"the last aidsafe {arguments[0]} ended with {code}: {site.printed}"
    answered = site.model.answered()
    _run_to_end(site, "backfill")
    more = site.model.answered() - answered
    if more:
        yield f"a backfill of finished batches made {more} calls"


def _fate(site: ChaosSite, process: Process, name: str) -> Iterator[str]:
    if _wait_for(process) is None:
        yield f"{name} ({process.pid}) never ended: {site.printed[-2000:]}"


def _wait_for(process: Process) -> int | None:
    """Return the exit status; None if the process had to be killed."""
    try:
        return process.wait(COMMAND_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return None


def _run_to_end(site: ChaosSite, *arguments: str) -> None:
    code = _wait_for(site.start(*arguments))
    assert code == 0, site.printed
