"""Rows of a Parquet file. Only the columns that are asked for are read.

Files of other programs hold types that Python has no value for, such as a date of the year -3506.
A column that nobody asked for cannot stop anything, and a value that cannot be converted costs its
row alone.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.sources.bounds import (
    LEAST_ROW_BYTES,
    BoundedReader,
    InputBounds,
    open_regular,
)
from aidsafe_dagster.sources.rejection import DropReason, Rejection
from aidsafe_dagster.sources.rows import Columns, FileRow

_UNCONVERTIBLE = (ValueError, OverflowError, pa.ArrowException)
"""Text that is no UTF-8, a date or a duration beyond Python's."""
_ROWS = 64
"""Rows that are decoded at a time: one value may stand for many of them in the file."""


@dataclass(frozen=True)
class ParquetTable:
    columns: tuple[str, ...]
    rows: Iterator[FileRow]


@contextmanager
def open_parquet(
    path: Path, bounds: InputBounds, columns: Columns
) -> Iterator[ParquetTable]:
    """Open a Parquet file and read its schema.

    Raises:
        SetupError: it is not readable, or two of the columns that are to be read share a name.
    """
    with open_regular(path) as raw:
        try:
            file = pq.ParquetFile(raw)
            names = tuple(dict.fromkeys(file.schema_arrow.names))
        except (pa.ArrowException, OSError) as error:
            if raw.closed or isinstance(error, IsADirectoryError):
                raise
            raise _unreadable(path, error) from error
        wanted = [name for name in columns(names) if name in names]
        repeated = [name for name in wanted if file.schema_arrow.names.count(name) > 1]
        if repeated:
            raise SetupError(
                f"{path}: the file names columns twice: {', '.join(repeated)}"
            )
        reader = BoundedReader(raw, path, bounds)
        yield ParquetTable(names, _rows(path, file, wanted, reader))


def _rows(
    path: Path, file: pq.ParquetFile, wanted: list[str], reader: BoundedReader
) -> Iterator[FileRow]:
    number = 0
    try:
        for batch in file.iter_batches(_ROWS, columns=wanted):
            # A few bytes in the file may stand for any number of rows, and of the same value.
            reader.charge(batch.nbytes + batch.num_rows * LEAST_ROW_BYTES)
            for row in range(batch.num_rows):
                # A Parquet file has no lines, so rows are counted from 1 as in CSV.
                number += 1
                yield FileRow(number, _content(batch, row))
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def _content(batch: pa.RecordBatch, row: int) -> Mapping[str, Any] | Rejection:
    content = {}
    for name in batch.schema.names:
        try:
            content[name] = _value(batch.column(name)[row])
        except _UNCONVERTIBLE as error:
            detail = f"'{name}' cannot be read: {error}"
            return Rejection(DropReason.NOT_TEXT, detail)
    return content


def _value(scalar: pa.Scalar) -> Any:
    """Return a value as JSON would have it."""
    try:
        value = scalar.as_py()
    except _UNCONVERTIBLE:
        # Of an object, some field that nobody asked for may be to blame.
        return _parts(scalar)
    # Older writers mark no column as text.
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="surrogateescape")
    return value


def _parts(scalar: pa.Scalar) -> Any:
    """Return a list or an object part by part; a field that cannot be converted is None."""
    if isinstance(scalar, pa.ListScalar | pa.LargeListScalar):
        return [_parts(item) for item in scalar]
    if not isinstance(scalar, pa.StructScalar):
        return scalar.as_py()
    fields = {}
    for name, value in scalar.items():
        try:
            fields[name] = _parts(value)
        except _UNCONVERTIBLE:
            fields[name] = None
    return fields


def _unreadable(path: Path, error: Exception) -> SetupError:
    return SetupError(f"{path}: not a readable Parquet file: {error}")
