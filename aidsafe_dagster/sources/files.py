"""Read rows from CSV, JSON, JSON Lines (each also compressed) and Parquet files.

A line that cannot be parsed is a rejected row, and the lines after it are read. A byte that is not
UTF-8 is decoded to a lone surrogate, which no valid text contains. The row that
holds it is rejected later, and the rest of the file is read normally. What a file may take is bound
(`bounds.py`).
"""

import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.sources.bounds import InputBounds
from aidsafe_dagster.sources.csv_rows import open_csv
from aidsafe_dagster.sources.json_rows import json_rows, jsonl_rows
from aidsafe_dagster.sources.parquet_rows import open_parquet
from aidsafe_dagster.sources.rejection import DropReason, Rejection
from aidsafe_dagster.sources.rows import (
    DETECTED,
    Columns,
    FileForm,
    FileRow,
    FileRows,
    NotRows,
    all_columns,
)
from aidsafe_dagster.sources.text_files import COMPRESSED, compression, open_text

_CSV = (".csv", ".tsv", ".tab", ".psv")
_JSON_LINES = (".jsonl", ".ndjson")
_PARQUET = (".parquet", ".pq")
_TEXTS = (*_CSV, *_JSON_LINES, ".json")
SUPPORTED = (
    f"CSV ({', '.join(_CSV)}), JSON Lines ({', '.join(_JSON_LINES)}), JSON (.json), "
    f"each also with {', '.join(COMPRESSED)}; Parquet ({', '.join(_PARQUET)})"
)
_REMEDIES = {
    ".xlsx": "save the sheet as 'CSV UTF-8'",
    ".xls": "save the sheet as 'CSV UTF-8'",
    ".xlsm": "save the sheet as 'CSV UTF-8'",
    ".ods": "save the sheet as CSV in UTF-8",
    ".numbers": "export the sheet as CSV in UTF-8",
    ".arrow": "save it as Parquet: Dataset.to_parquet, or polars.read_ipc(…).write_parquet(…)",
    ".feather": "save it as Parquet: polars.read_ipc(…).write_parquet(…)",
    ".zip": "unpack it",
    ".txt": "if it has a line of column names, or one column, name it .csv",
}
"""What to do with files of other kinds that people have."""
_NO_BOUNDS_SET = InputBounds()


@dataclass(frozen=True)
class _Table:
    rows: Iterator[FileRow]
    columns: tuple[str, ...] | None = None
    """None: those of the rows."""
    form: str = ""


def is_supported(name: str) -> bool:
    lower = name.lower()
    if lower.endswith(_PARQUET):
        return True
    return lower.removesuffix(compression(lower)).endswith(_TEXTS)


def read_file(
    path: Path,
    limit: int | None = None,
    bounds: InputBounds = _NO_BOUNDS_SET,
    form: FileForm = DETECTED,
    columns: Columns = all_columns,
) -> FileRows:
    """Read at most `limit` rows of a file, in the format of its suffix.

    Args:
        path: of the file.
        limit: of rows.
        bounds: how much it may hold.
        form: what is known of its text.
        columns: which of the columns of a table to read; it may raise, and stops the reading.

    Raises:
        SetupError: the file is missing, unreadable, unsupported, no regular file, too large, empty,
            or not parseable in any of its rows; names the place.
    """
    if not is_supported(path.name):
        remedy = _REMEDIES.get(path.suffix.lower())
        advice = f"; {remedy}" if remedy else ""
        raise SetupError(
            f"{path}: unsupported kind of file{advice}. Supported: {SUPPORTED}"
        )
    try:
        with _open_table(path, bounds, form, columns) as table:
            # Readers are generators, so a limit also bounds what is read of a file of lines.
            rows = tuple(islice(table.rows, limit))
    except (
        OSError,
        EOFError,
        zlib.error,
        lzma.LZMAError,
        pa.ArrowException,
        UnicodeDecodeError,
    ) as error:
        raise SetupError(f"{path}: cannot be read: {_describe_error(error)}") from error
    if not rows:
        raise NotRows(f"{path}: the file has no rows")
    _check_format(path, rows)
    return FileRows(table.columns or _columns_of(rows), rows, table.form)


@contextmanager
def _open_table(
    path: Path, bounds: InputBounds, form: FileForm, columns: Columns
) -> Iterator[_Table]:
    lower = path.name.lower()
    name = lower.removesuffix(compression(lower))
    if name.endswith(_PARQUET):
        with open_parquet(path, bounds, columns) as parquet:
            yield _Table(parquet.rows, parquet.columns)
    elif name.endswith(_CSV):
        with open_csv(path, bounds, form, columns) as table:
            yield _Table(table.rows, table.columns, table.form)
    else:
        read = jsonl_rows if name.endswith(_JSON_LINES) else json_rows
        with open_text(path, bounds, form.encoding) as text:
            encoding = "" if text.encoding == "utf-8" else text.encoding
            yield _Table(read(path, text, bounds), form=encoding)


def _columns_of(rows: tuple[FileRow, ...]) -> tuple[str, ...]:
    # A dict keeps the order of the columns, which error messages list.
    columns = dict[str, None]()
    for row in rows:
        if not isinstance(row.content, Rejection):
            columns.update(dict.fromkeys(row.content))
    return tuple(columns)


def _check_format(path: Path, rows: tuple[FileRow, ...]) -> None:
    """Tell a file with a few bad lines from a file of another kind."""
    unparsable = []
    for row in rows:
        content = row.content
        if not isinstance(content, Rejection):
            return
        if content.reason is DropReason.NOT_PARSEABLE:
            unparsable.append(content)
    if len(unparsable) == len(rows):
        raise SetupError(f"{path}: {unparsable[0].detail}")


def _describe_error(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, IsADirectoryError):
        return "it is a folder, not a file"
    return str(error) or type(error).__name__
