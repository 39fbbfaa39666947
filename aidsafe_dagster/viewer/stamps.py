"""Which files a batch consists of at present: an index is made anew when they change."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.translations import translation_tables
from aidsafe_dagster.recipe.records import BELIEF_CANDIDATES
from aidsafe_dagster.recipe.stages import STAGES
from aidsafe_dagster.sources.tables import INGESTED

_FORM = 2
"""Raised when the index gets other columns, or searches otherwise."""
_PREFIX = "batch="


def batch_stamps(lake: Lake) -> dict[str, str]:
    """Return a stamp for each batch; it changes with any of the batch's files."""
    files = defaultdict[str, list[str]](list)
    for table in (INGESTED, *STAGES, BELIEF_CANDIDATES, *translation_tables(lake)):
        for batch, file in _files(lake, table):
            files[batch].append(f"{table}/{file}")
    stamps = {}
    for batch in sorted(files):
        text = "\n".join([str(_FORM), *sorted(files[batch])])
        stamps[batch] = hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
    return stamps


def _files(lake: Lake, table: str) -> Iterator[tuple[str, str]]:
    """Yield the batch of each file of a table, and what changes when the file does."""
    folder = Path(str(lake.root / table))
    if not lake.local:
        yield from _remote_files(lake, table)
        return
    # By hand: a lake has ten files a batch, and this is asked again every few seconds.
    if not folder.is_dir():
        return
    with os.scandir(folder) as partitions:
        for partition in partitions:
            if not partition.name.startswith(_PREFIX):
                continue
            batch = partition.name.removeprefix(_PREFIX)
            with os.scandir(partition.path) as files:
                for file in files:
                    if file.name.endswith(".parquet"):
                        state = file.stat()
                        yield batch, f"{file.name} {state.st_size} {state.st_mtime_ns}"


def _remote_files(lake: Lake, table: str) -> Iterator[tuple[str, str]]:
    folder = lake.root / table
    details = folder.fs.find(folder.path, detail=True)
    for path, detail in details.items():
        partition, name = path.split("/")[-2:]
        if partition.startswith(_PREFIX) and name.endswith(".parquet"):
            # Object stores know a hash of the content, most other places the time.
            version = detail.get("ETag") or detail.get("LastModified")
            version = version or detail.get("mtime") or detail.get("created")
            batch = partition.removeprefix(_PREFIX)
            yield batch, f"{name} {detail.get('size')} {version}"
