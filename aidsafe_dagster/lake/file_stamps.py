"""Which files a table has at present, each with what changes when the file does."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.stored_files import ask

_PREFIX = "batch="


@dataclass(frozen=True, slots=True)
class FileStamp:
    """A file of a partition."""

    batch: str
    name: str
    stamp: str
    """Size and times on a local disk; elsewhere what the store tells of the content."""


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
                yield FileStamp(batch, file.name, stamp)


def _remote_files(lake: Lake, table: str) -> Iterator[FileStamp]:
    folder = lake.root / table
    try:
        details = ask(folder, lambda: folder.fs.find(folder.path, detail=True))
    except FileNotFoundError:
        return
    for path, detail in details.items():
        partition, name = path.split("/")[-2:]
        if partition.startswith(_PREFIX) and name.endswith(".parquet"):
            # Object stores know a hash of the content, most other places the time.
            version = detail.get("ETag") or detail.get("LastModified")
            version = version or detail.get("mtime") or detail.get("created")
            batch = partition.removeprefix(_PREFIX)
            yield FileStamp(batch, name, f"{detail.get('size')} {version}")
