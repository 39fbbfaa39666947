"""What must hold after a chaos run: the same rows, no call twice, nothing left over, no key."""

import fcntl
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import polars as pl
import psutil

from aidsafe_dagster.recipe.stages import always_made
from tests.chaos.model import answers_in
from tests.faults.commands import processes_of

_SHOWN = 300
_COSTS = ("usage",)
"""Columns of what a run has spent: replays are counted apart from calls."""


def differences(site: Path, clean: Path) -> Iterator[str]:
    """Say where rows or failures of any stage differ from those of a clean run."""
    for stage in always_made():
        for name in ("rows", "failures"):
            ours = _files(site, stage, name)
            theirs = _files(clean, stage, name)
            for missing in sorted(theirs.keys() - ours.keys()):
                yield f"{stage}: {missing} has no {name}"
            for added in sorted(ours.keys() - theirs.keys()):
                yield f"{stage}: {added} has {name} that a clean run has not"
            for batch in sorted(ours.keys() & theirs.keys()):
                yield from _row_differences(
                    f"{stage}, {batch}, {name}", ours[batch], theirs[batch]
                )


def repeats(answers: Path) -> int:
    """Count the answers to questions that had been answered before."""
    counts: Counter[str] = answers_in(answers)
    return counts.total() - len(counts)


def leftovers(site: Path) -> Iterator[str]:
    """Name processes, held locks and half-written files that are left."""
    for process in processes_of(site):
        with suppress(psutil.Error):
            yield f"process {process.pid} is left: {' '.join(process.cmdline())}"
    for lock in sorted((site / "data" / "locks").rglob("*")):
        if lock.is_file() and _is_locked(lock):
            yield f"{lock.relative_to(site)} is still locked"
    for file in sorted((site / "data" / "lake").rglob(".*")):
        yield f"{file.relative_to(site)} is left"


def places_of_the_key(folder: Path, key: str) -> Iterator[str]:
    """Name the files that hold the marked API key."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and key.encode() in file.read_bytes():
            yield f"{file.relative_to(folder)} holds the API key"


def _files(site: Path, stage: str, name: str) -> dict[str, pl.DataFrame]:
    lake = site / "data" / "lake" / stage
    files = {}
    for file in lake.glob(f"batch=*/{name}.parquet"):
        files[file.parent.name] = pl.read_parquet(file).drop(_COSTS, strict=False)
    return files


def _row_differences(
    place: str, ours: pl.DataFrame, theirs: pl.DataFrame
) -> Iterator[str]:
    if ours.schema != theirs.schema:
        yield f"{place}: other columns"
        return
    if ours.height != theirs.height:
        yield f"{place}: {ours.height} rows instead of {theirs.height}"
        return
    for column in ours.columns:
        pairs = zip(ours[column].to_list(), theirs[column].to_list(), strict=True)
        for number, (one, other) in enumerate(pairs):
            if one != other:
                shown = f"{str(one)[:_SHOWN]} instead of {str(other)[:_SHOWN]}"
                yield f"{place}: row {number}, column {column}: {shown}"


def _is_locked(file: Path) -> bool:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
