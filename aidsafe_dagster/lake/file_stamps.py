"""Which files a table has at present, each with what changes when the file does."""

import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.stored_files import ask

_PREFIX = "batch="
_SAME_FOR_ALL = ("name", "Key", "path", "type", "size", "Size", "StorageClass")
_PLAIN = (str, bytes, int, float, datetime)


class FileStamp(NamedTuple):
    """A file of a partition. A tuple, since a large lake has tens of thousands of them."""

    batch: str
    name: str
    stamp: str
    """Size and times on a local disk; elsewhere what the store tells of the content."""
    size: int
    """Bytes; 0 if a store does not tell."""


def stamped_files(lake: Lake, table: str) -> Iterator[FileStamp]:
    """Yield the Parquet files of all partitions of a table."""
    if not lake.local:
        yield from _remote_files(lake, table)
        return
    folder = Path(str(lake.root / table))
    # By hand: a lake has ten files a batch, and this is asked again every few seconds.
    if not folder.is_dir():
        return
    with os.scandir(folder) as partitions:
        for partition in partitions:
            if partition.name.startswith(_PREFIX):
                yield from _local_files(partition)


def _local_files(partition: os.DirEntry[str]) -> Iterator[FileStamp]:
    batch = partition.name.removeprefix(_PREFIX)
    # Runs write, and batches are taken back meanwhile. A file by that name is no partition.
    with (
        suppress(FileNotFoundError, NotADirectoryError),
        os.scandir(partition.path) as files,
    ):
        for file in files:
            # Hidden files are being written.
            if file.name.endswith(".parquet") and not file.name.startswith("."):
                state = file.stat()
                # A time of content can be set back, that of the last change cannot.
                times = f"{state.st_mtime_ns} {state.st_ctime_ns}"
                stamp = f"{state.st_size} {times} {state.st_ino}"
                yield FileStamp(batch, file.name, stamp, state.st_size)


def _remote_files(lake: Lake, table: str) -> Iterator[FileStamp]:
    folder = lake.root / table
    try:
        details = ask(folder, lambda: folder.fs.find(folder.path, detail=True))
    except FileNotFoundError:
        return
    for path, detail in details.items():
        partition, name = path.split("/")[-2:]
        if partition.startswith(_PREFIX) and name.endswith(".parquet"):
            batch = partition.removeprefix(_PREFIX)
            size = int(detail.get("size") or 0)
            yield FileStamp(batch, name, _remote_stamp(detail), size)


def _remote_stamp(detail: Mapping[str, Any]) -> str:
    """Return all that a store tells of a file.

    Some tell a hash of the content, some a number, some a time; and each has its own names.
    """
    values = []
    for name, value in sorted(detail.items()):
        # Other objects may be written with their address in memory.
        if name not in _SAME_FOR_ALL and isinstance(value, _PLAIN):
            values.append(f"{name}={value!r}")
    if not values:
        # Nothing tells this file from a later one, so none is known.
        values.append(uuid.uuid4().hex)
    return " ".join((str(detail.get("size")), *values))
