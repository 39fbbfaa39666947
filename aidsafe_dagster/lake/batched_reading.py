"""Many partitions of a table read in one pass: opening a small file costs more than reading it."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

import polars as pl

from aidsafe_dagster.lake.earlier_layouts import require_known_layout
from aidsafe_dagster.lake.lake import FAILURES, ROWS, Lake
from aidsafe_dagster.recipe.errors import SetupError

OF_BATCH = "its batch"
"""A column that no table has: the key of the partition a row lies in, whatever the row says."""
_FILES = 250
"""Read in one pass at most."""
# Polars panics, rather than raises, on some kinds of damage.
_UNREADABLE = (
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
    OSError,
    SetupError,
)


def rows_by_batch(
    lake: Lake, table: str, batches: Sequence[str], columns: Sequence[str]
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield each batch with the rows of its partition, as `Lake.rows` returns them.

    Raises:
        SetupError: a partition does not exist, or its file is damaged.
    """
    for start in range(0, len(batches), _FILES):
        chunk = batches[start : start + _FILES]
        together = read_together(lake, table, chunk, columns)
        if together is None:
            for batch in chunk:
                yield batch, lake.rows(table, batch, columns)
            continue
        counts = together.group_by(OF_BATCH, maintain_order=True).len()
        heights = dict(counts.iter_rows())
        rows = together.drop(OF_BATCH)
        first = 0
        # They lie one after the other, in the order in which they were asked for.
        for batch in chunk:
            height = heights.get(batch, 0)
            yield batch, rows.slice(first, height)
            first += height


def read_together(
    lake: Lake, table: str, batches: Sequence[str], columns: Sequence[str] | None = None
) -> pl.DataFrame | None:
    """Return the rows of several partitions below each other, each with its batch in `OF_BATCH`.

    Of `columns`, those that the files have. None if the partitions have to be read one by one: in
    an object store, where files differ in their columns, and where one is missing or damaged, of
    which whoever reads it alone is told.
    """
    return _read_together(lake, table, batches, ROWS, columns)


def read_failures_together(
    lake: Lake, table: str, batches: Sequence[str]
) -> pl.DataFrame | None:
    """Return the failed rows of several partitions likewise."""
    return _read_together(lake, table, batches, FAILURES, None)


def _read_together(
    lake: Lake,
    table: str,
    batches: Sequence[str],
    name: str,
    columns: Sequence[str] | None,
) -> pl.DataFrame | None:
    if not lake.local or not batches:
        return None
    with suppress(*_UNREADABLE):
        paths = [lake.address(table, batch, name) for batch in batches]
        for path in paths:
            require_known_layout(path, pl.read_parquet_metadata(path))
        # Raises if any file has other columns than the first one.
        scan = pl.scan_parquet(
            paths, hive_partitioning=False, include_file_paths=OF_BATCH
        )
        selected = scan.collect_schema().names()
        if columns is not None:
            selected = [column for column in columns if column in selected]
            selected.append(OF_BATCH)
        rows = scan.select(selected).collect()
        return rows.with_columns(pl.col(OF_BATCH).replace_strict(paths, batches))
    return None
