"""Batches that are being taken back: a mark in the lake from the first file removed to the last.

    <lake>/_forgetting/<batch>

Whatever a removal that was cut off has left of a batch is no dataset. Its gates are closed, so no
run, export or release takes it, until `aidsafe forget` has removed the rest.
"""

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.stored_files import exists, names_in

_FOLDER = "_forgetting"


def mark(lake: Lake, batch: str) -> None:
    """Say that a batch is being removed."""
    lake.put(f"{_FOLDER}/{batch}", b"")


def unmark(lake: Lake, batch: str) -> None:
    """Say that nothing of a batch is left in the lake."""
    lake.discard(f"{_FOLDER}/{batch}")


def is_half_forgotten(lake: Lake, batch: str) -> bool:
    return exists(lake.root / _FOLDER / batch)


def half_forgotten_batches(lake: Lake) -> list[str]:
    """Return the batches that are marked, sorted."""
    return sorted(names_in(lake.root / _FOLDER))
