"""The index of all rows: a Parquet file per batch beside the lake's tables, and a table in memory.

The file holds what a search needs and may be removed at any time; it is made again from the lake.
What is filtered by is small, and is kept in memory, in DuckDB. The texts stay in the files, which
DuckDB scans.
"""

import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import duckdb
import polars as pl

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.viewer.batch_rows import ROW_SCHEMA, batch_rows, read_tables
from aidsafe_dagster.viewer.stamps import batch_stamps

ROW_INDEX = "row_index"
"""The table of the index."""
_WORKERS = 2
_MOST_PROMPT_CHARS = 600
"""Of a prompt in memory; a page shows all of it."""
_IN_FILES_ALONE = ("texts", "folded", "stamp")
_COLUMNS = tuple(name for name in ROW_SCHEMA if name not in _IN_FILES_ALONE)


class RowIndex:
    """Knows the rows of all batches; `refresh` brings it up to date.

    Args:
        lake: whose rows.
        folder: where the index is kept if the lake is not on this machine.
    """

    def __init__(self, lake: Lake, folder: Path) -> None:
        self.lake = lake
        self.problems: Mapping[str, Sequence[str]] = {}
        """What could not be read, by batch."""
        self.generation = 0
        """Grows with every change."""
        self.batches_known = 0
        self.batches_missing = 0
        """That are there, and not yet read."""
        self._store = lake if lake.local else Lake(folder)
        self._own_folder: tempfile.TemporaryDirectory[str] | None = None
        self._stamps: dict[str, str] = {}
        self._is_closed = threading.Event()
        self._refreshing = threading.Lock()
        self._writing = threading.Lock()
        self._database = duckdb.connect(
            # No variable of Python is a table.
            config={"python_enable_replacements": False}
        )
        empty = pl.DataFrame(schema=ROW_SCHEMA).select(_COLUMNS)
        self._database.register("empty", empty.to_arrow())
        self._database.execute("CREATE TABLE rows AS SELECT * FROM empty")

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return a connection of the caller's own to the table `rows`."""
        return self._database.cursor()

    def files(self, batches: Sequence[str] | None = None) -> list[str]:
        """Return the files with the texts of these batches, or of all."""
        known = self._stamps if batches is None else batches
        paths = [self._store.rows_path(ROW_INDEX, batch) for batch in known]
        return [str(path) for path in paths if path.exists()]

    def refresh(self, on_batch: Callable[[int, int], None] | None = None) -> None:
        """Read what is new or has changed since the last time, and drop what is gone.

        Args:
            on_batch: told, after each batch, how many are read and how many there are.
        """
        with self._refreshing:
            stamps = batch_stamps(self.lake)
            self._forget(set(self._stamps) - set(stamps))
            changed = [key for key in stamps if self._stamps.get(key) != stamps[key]]
            self.batches_missing = len(changed)
            self._load_stored(stamps, changed)
            waiting = [key for key in changed if self._stamps.get(key) != stamps[key]]
            pool = ThreadPoolExecutor(_WORKERS)
            try:
                for _ in pool.map(lambda key: self._index(key, stamps[key]), waiting):
                    if on_batch:
                        on_batch(self.batches_known, len(stamps))
            finally:
                # Whoever gives up waiting waits for no batch that is not begun.
                pool.shutdown(cancel_futures=True)

    def close(self) -> None:
        """Begin no further batch, so that the process can end; no question is answered any more."""
        self._is_closed.set()
        self._database.close()
        if self._own_folder is not None:
            self._own_folder.cleanup()

    def _load_stored(self, stamps: Mapping[str, str], batches: Sequence[str]) -> None:
        """Take over what an earlier process has indexed of batches that did not change."""
        try:
            stored = set(self._store.batches(ROW_INDEX))
        except OSError:
            # Not for us to read, so not for us to write either.
            self._move_to_own_folder()
            return
        for key in stored - set(stamps):
            # A batch that somebody took back. Nobody else minds a file less.
            with suppress(OSError, SetupError):
                self._store.rows_path(ROW_INDEX, key).unlink(missing_ok=True)
        candidates = [key for key in batches if key in stored]
        frames = self._read_together(stamps, candidates)
        if frames is None:
            frames = self._read_each(stamps, candidates)
        if frames:
            loaded = pl.concat(frames)
            self._replace(loaded["batch"].unique().to_list(), loaded)

    def _read_together(
        self, stamps: Mapping[str, str], batches: Sequence[str]
    ) -> list[pl.DataFrame] | None:
        """Return the rows of all files that are current; None if one of them is unlike others."""
        if not self._store.local:
            return None
        paths = [str(self._store.rows_path(ROW_INDEX, key)) for key in batches]
        try:
            rows = pl.scan_parquet(paths).select(*_COLUMNS, "stamp").collect()
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
            return None
        current = pl.DataFrame(
            {"batch": list(stamps), "stamp": list(stamps.values())},
            schema={"batch": pl.String, "stamp": pl.String},
        )
        rows = rows.join(current, on=["batch", "stamp"], how="semi")
        for key in rows["batch"].unique().to_list():
            self._stamps[key] = stamps[key]
        return [rows.select(_COLUMNS)]

    def _read_each(
        self, stamps: Mapping[str, str], batches: Sequence[str]
    ) -> list[pl.DataFrame]:
        frames = []
        for key in batches:
            try:
                rows = self._store.rows(ROW_INDEX, key, [*_COLUMNS, "stamp"])
            except SetupError:
                # Damaged, so it is made again.
                continue
            is_current = rows.height and rows.item(0, "stamp") == stamps[key]
            if is_current and set(rows.columns) == {*_COLUMNS, "stamp"}:
                frames.append(rows.select(_COLUMNS))
                self._stamps[key] = stamps[key]
        return frames

    def _index(self, batch: str, stamp: str) -> None:
        if self._is_closed.is_set():
            return
        tables = read_tables(self.lake, batch)
        try:
            rows = batch_rows(tables, batch, stamp)
        except pl.exceptions.PolarsError as error:
            # The other batches can be read; this one only when it is made again.
            tables.problems.append(f"{batch}: its rows do not fit together ({error})")
            rows = pl.DataFrame(schema=ROW_SCHEMA)
        else:
            self._write(batch, rows)
        problems = {**self.problems, batch: tables.problems}
        self.problems = {key: found for key, found in problems.items() if found}
        self._stamps[batch] = stamp
        self._replace([batch], rows.select(_COLUMNS))

    def _write(self, batch: str, rows: pl.DataFrame) -> None:
        try:
            self._store.write(ROW_INDEX, batch, rows)
        except (SetupError, OSError):
            # Who may only read the lake may read all of it: this process keeps its own index.
            self._move_to_own_folder()
            self._store.write(ROW_INDEX, batch, rows)

    def _move_to_own_folder(self) -> None:
        with self._writing:
            if self._own_folder is None:
                self._own_folder = tempfile.TemporaryDirectory(prefix="aidsafe-view-")
                before, self._store = self._store, Lake(self._own_folder.name)
                for key in self._stamps:
                    # What another process had indexed is still good.
                    self._store.write(ROW_INDEX, key, before.rows(ROW_INDEX, key))

    def _forget(self, batches: set[str]) -> None:
        for key in batches:
            del self._stamps[key]
            self._replace([key], pl.DataFrame(schema=ROW_SCHEMA).select(_COLUMNS))

    def _replace(self, batches: Sequence[str], rows: pl.DataFrame) -> None:
        """Put rows in the place of what is known of these batches, all at once."""
        shortened = rows.with_columns(pl.col("prompt").str.slice(0, _MOST_PROMPT_CHARS))
        with self._writing:
            connection = self._database.cursor()
            connection.register("fresh", shortened.to_arrow())
            connection.begin()
            connection.execute(
                "DELETE FROM rows WHERE batch IN (SELECT unnest(?))", [list(batches)]
            )
            connection.execute("INSERT INTO rows SELECT * FROM fresh")
            connection.commit()
            connection.close()
            self.generation += 1
            self.batches_known = len(self._stamps)
            self.batches_missing = max(0, self.batches_missing - len(batches))
