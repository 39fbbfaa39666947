"""The lake: a Parquet file per table and batch, with its failures in a file beside it.

    <root>/<table>/batch=<key>/rows.parquet
    <root>/<table>/batch=<key>/failures.parquet
    <root>/<table>/_schema/…                     the same files without rows, so that a view can
                                                 exist before the first batch
    <root>/_versions/…                           what batches were before (`kept_versions.py`)

A file appears whole or not at all: on a local disk by an atomic write, on an object store because a
put is atomic. The failures are written first, so rows never stand without the account of what is
missing.
"""

import hashlib
import io
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import polars as pl
from upath import UPath

from aidsafe_dagster.lake.earlier_layouts import (
    LAYOUT,
    LAYOUT_KEY,
    require_known_layout,
)
from aidsafe_dagster.lake.stored_files import (
    exists,
    is_local,
    names_in,
    read,
    remove,
    size_of,
    write,
)
from aidsafe_dagster.lake.tables import from_frame, schema_of, to_frame
from aidsafe_dagster.recipe.errors import SetupError, not_installed
from aidsafe_dagster.recipe.records import Failure, Record
from aidsafe_dagster.recipe.stages import STAGES, stage_named

R = TypeVar("R", bound=Record)

ROWS, FAILURES = "rows.parquet", "failures.parquet"
"""Names of the files of a partition."""
_BATCH_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_REMEDIES: Mapping[str, str] = {
    "ingested": "ingest its source again, which restores the batch from the copy in sealed_copies",
    "dropped_prompts": "remove it and ingest again, which writes the account of dropped rows anew",
}
"""What to do about a damaged file, by table, where making the batch again does not help."""


class Lake:
    """Reads and writes partitions.

    Args:
        root: a local path or any fsspec URL.
        fence: called right before each write. It raises once this process may write no more.
    """

    def __init__(
        self, root: str | Path, fence: Callable[[], None] | None = None
    ) -> None:
        self._fence = fence
        self.root = UPath(root)
        self.local = is_local(self.root)
        if self.local:
            self.root = UPath(self.root.path)
        else:
            # Other hosts write too, so a cached listing proves nothing.
            self.root = _remote_root(root)
        self._root = str(self.root)

    def address(self, table: str, batch: str, name: str) -> str:
        """Return the path of a file of a partition, or its URL.

        To put a `UPath` together takes a hundred times as long, which counts over a whole lake.
        """
        return f"{self._root}/{_folder(table, batch)}/{name}"

    def rows_path(self, table: str, batch: str) -> UPath:
        return self.path(table, batch, ROWS)

    def path(self, table: str, batch: str, name: str) -> UPath:
        """Return where a file of a partition is, whether there is one or not."""
        return self.root / f"{_folder(table, batch)}/{name}"

    def store(
        self,
        table: str,
        batch: str,
        records: Sequence[R],
        record: type[R],
        failures: Sequence[Failure] | None = None,
    ) -> pl.DataFrame:
        """Write the records of a partition, and its failures where the table has any.

        Returns:
            The rows as they were written.
        """
        rows = to_frame(records, record)
        failure_rows = None
        # Without failures, the file still says that nothing failed. None means that the table
        # has no such file at all.
        if failures is not None:
            failure_rows = to_frame(failures, Failure)
        self.write(table, batch, rows, failure_rows)
        return rows

    def write(
        self,
        table: str,
        batch: str,
        rows: pl.DataFrame,
        failures: pl.DataFrame | None = None,
    ) -> None:
        """Write a partition from frames; the rows file is the last to appear.

        Raises:
            OtherLayout: a later release wrote the partition that stands there.
        """
        self.require_known_layout(table, batch)
        if failures is not None:
            failures_path = self.path(table, batch, FAILURES)
            write(failures_path, _parquet(failures), self._fence)
        # A partition exists once its rows do, so a kill between the two files leaves none.
        write(self.rows_path(table, batch), _parquet(rows), self._fence)

    def copy(self, batch: str, *, source: str, target: str) -> None:
        """Copy a partition's rows into another table, byte for byte.

        Raises:
            SetupError: the source does not exist, or is damaged.
            OtherLayout: a later release wrote the partition that stands in the target.
        """
        self.require_known_layout(target, batch)
        # Reading it as a table shows damage before it spreads to the copy.
        self.rows(source, batch)
        content = read(self.rows_path(source, batch))
        write(self.rows_path(target, batch), content, self._fence)

    def copy_to(self, other: "Lake", table: str, batch: str) -> int:
        """Copy a partition into another lake, byte for byte; return the bytes of its files.

        On a local disk the copy is a hard link where the file system has them, and takes no room
        until one of the two is replaced. A file is never changed in place, so they stay apart.
        """
        size = 0
        for name in (FAILURES, ROWS):
            source = self.path(table, batch, name)
            if exists(source):
                target = other.path(table, batch, name)
                other._take_over(source, target)
                size += size_of(source)
        return size

    def put(self, name: str, content: bytes) -> None:
        """Write a file of another kind into the lake's folder, whole or not at all."""
        write(self.root / name, content, self._fence)

    def discard(self, folder: str) -> None:
        """Remove a folder with all that is in it, or a file; harmless if there is none."""
        if self._fence:
            self._fence()
        remove(self.root / folder)

    def inner(self, folder: str) -> "Lake":
        """Return a lake in a folder of this one, behind the same fence."""
        return Lake(str(self.root / folder), self._fence)

    def records(self, table: str, batch: str, record: type[R]) -> list[R]:
        """Return the rows of a partition as records.

        Raises:
            SetupError: the partition does not exist, its file is damaged, or another release
                wrote it in a form that cannot be read.
        """
        return from_frame(self.rows(table, batch), record)

    def rows(
        self, table: str, batch: str, columns: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """Return the rows of a partition; of `columns`, those that the file has.

        Raises:
            SetupError: the partition does not exist, or its file is damaged.
        """
        path = self.rows_path(table, batch)
        if not exists(path):
            raise SetupError(
                f"{path}: batch '{batch}' of '{table}' has not been made yet"
            )
        return _read(path, columns)

    def failures(self, table: str, batch: str) -> pl.DataFrame:
        """Return the failed rows of a partition; empty if it has not been made."""
        path = self.path(table, batch, FAILURES)
        if not exists(path):
            return pl.DataFrame(schema=schema_of(Failure))
        return _read(path)

    def all_failures(self) -> pl.DataFrame:
        """Return the failed rows of every stage and batch, stage by stage."""
        # The empty frame gives the result its columns where no batch exists.
        frames = [pl.DataFrame(schema=schema_of(Failure))]
        for stage in STAGES:
            for batch in self.batches(stage):
                frames.append(self.failures(stage, batch))
        return pl.concat(frames, how="diagonal_relaxed")

    def is_readable(self, table: str, batch: str, record: type[Record]) -> bool:
        """Tell whether a partition is there, whole, and readable as records of this release."""
        try:
            # The rows of a file are all of one release.
            from_frame(self.rows(table, batch).head(1), record)
        except SetupError:
            return False
        return True

    def require_known_layout(self, table: str, batch: str) -> None:
        """Refuse a partition of a later release; one that is damaged or not there passes.

        Raises:
            OtherLayout: a later release wrote it.
        """
        path = self.rows_path(table, batch)
        if not exists(path):
            return
        # Of a local file, the end alone is read.
        source = Path(str(path)) if self.local else io.BytesIO(read(path))
        with suppress(pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
            require_known_layout(str(path), pl.read_parquet_metadata(source))

    def has(self, table: str, batch: str) -> bool:
        return exists(self.rows_path(table, batch))

    def batches(self, table: str) -> list[str]:
        """Return the keys of the batches that the table has, sorted."""
        folder = self.root / table
        keys = []
        for name in names_in(folder):
            # A folder without rows is a partition whose writing was cut off.
            if name.startswith("batch=") and exists(folder / name / ROWS):
                keys.append(name.removeprefix("batch="))
        return sorted(keys)

    def tables(self) -> list[str]:
        """Return the names of all tables that have a folder, sorted."""
        if not self.root.exists():
            return []
        names = []
        for path in self.root.iterdir():
            # Folders with an underscore hold no table, such as earlier versions of batches.
            if path.is_dir() and not path.name.startswith("_"):
                names.append(path.name)
        return sorted(names)

    def remove(self, table: str, batch: str) -> None:
        """Remove a partition with its failures; harmless if there is none."""
        folder = self.root / _folder(table, batch)
        # Without its rows a partition no longer exists, so a kill in between leaves none.
        for name in (ROWS, FAILURES):
            if self._fence:
                self._fence()
            (folder / name).unlink(missing_ok=True)
        if self.local and folder.exists():
            shutil.rmtree(str(folder))

    def all_rows(
        self, table: str, columns: list[str] | None = None
    ) -> pl.DataFrame | None:
        """Return the rows of all batches, None if there is no batch.

        Columns that an older release did not write are null.
        """
        batches = self.batches(table)
        if not batches:
            return None
        frames = [self.rows(table, batch, columns) for batch in batches]
        if table in STAGES:
            # The present schema comes first, so that older files take its column order and types.
            schema = schema_of(stage_named(table).record)
            frames.insert(0, pl.DataFrame(schema=schema))
        if columns:
            frames = [_with_columns(frame, columns) for frame in frames]
        return pl.concat(frames, how="diagonal_relaxed")

    def fingerprint(self, table: str, batch: str) -> str:
        """Hash a partition's bytes: a gate's verdict holds for these and no others."""
        digest = hashlib.blake2b(digest_size=16)
        for name in (ROWS, FAILURES):
            digest.update(self._content(table, batch, name))
        return digest.hexdigest()

    def _content(self, table: str, batch: str, name: str) -> bytes:
        if self.local:
            with suppress(FileNotFoundError, NotADirectoryError):
                return Path(self.address(table, batch, name)).read_bytes()
        else:
            path = self.path(table, batch, name)
            if exists(path):
                return read(path)
        # A missing file must count, or the bytes of one file could pass for the other's.
        return b"-"

    def ensure_schema(self, table: str, record: type[Record]) -> None:
        """Make sure that the table exists, if only without rows."""
        schemas = {ROWS: schema_of(record), FAILURES: schema_of(Failure)}
        for name, schema in schemas.items():
            path = self.root / table / "_schema" / name
            # Every run comes by here, so an unchanged file is not written again.
            if _stored_schema(path) != schema:
                empty = pl.DataFrame(schema=schema)
                write(path, _parquet(empty), self._fence)

    def _take_over(self, source: UPath, target: UPath) -> None:
        if self.local:
            if self._fence:
                self._fence()
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            # A file system without hard links gets a copy.
            with suppress(OSError):
                Path(str(target)).hardlink_to(str(source))
                return
        write(target, read(source), self._fence)


def _folder(table: str, batch: str) -> str:
    # A partition key may come from anybody who can reach the UI; it must never leave the table.
    if not _BATCH_KEY.fullmatch(batch) or ".." in batch:
        raise SetupError(
            f"'{batch}' is not a batch key: delete that partition. "
            "A key has only letters, digits, '.', '_' and '-'"
        )
    return f"{table}/batch={batch}"


def _with_columns(frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    absent = []
    for name in columns:
        if name not in frame.columns:
            absent.append(pl.lit(None).alias(name))
    return frame.with_columns(absent).select(columns)


def _remote_root(root: str | Path) -> UPath:
    path = UPath(root, use_listings_cache=False)
    # Otherwise a missing library would show up at the first read, with no word of the lake.
    try:
        _ = path.fs
    except ImportError as error:
        raise not_installed(error, f"lake {root}", "cluster") from error
    return path


def _stored_schema(path: UPath) -> pl.Schema | None:
    """Return the schema of a file; None if there is no file, or it is damaged."""
    if not exists(path):
        return None
    try:
        return _read(path).schema
    except SetupError:
        return None


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer, metadata={LAYOUT_KEY: str(LAYOUT)})
    return buffer.getvalue()


def _read(path: UPath, columns: Sequence[str] | None = None) -> pl.DataFrame:
    try:
        # As bytes, so that one way of reading serves every filesystem that fsspec knows.
        content = read(path)
        require_known_layout(str(path), pl.read_parquet_metadata(io.BytesIO(content)))
        selected: list[str] | None = None
        if columns:
            stored = pl.read_parquet_schema(io.BytesIO(content))
            selected = [name for name in columns if name in stored]
        # An empty selection would lose the number of rows, so it reads all columns.
        if not selected:
            selected = None
        return pl.read_parquet(io.BytesIO(content), columns=selected)
    # Polars panics, rather than raises, on some kinds of damage.
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        table = path.parent.parent.name
        remedy = _REMEDIES.get(table, "remove it and make the batch again")
        raise SetupError(
            f"{path}: not a readable Parquet file ({error}); {remedy}"
        ) from error
