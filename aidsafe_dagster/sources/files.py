"""Read rows from CSV, JSON, JSON Lines (each also as .gz or .xz) and Parquet files.

A line that cannot be parsed is a rejected row, and the lines after it are read. A byte that is not
UTF-8 is decoded to a lone surrogate, which no valid text contains. The row that
holds it is rejected later, and the rest of the file is read normally. What a file may take is bound
(`bounds.py`).
"""

import csv
import gzip
import json
import lzma
import sys
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import BufferedReader, TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import IO, Any, AnyStr, cast

import polars as pl
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

_COMPRESSED = (".gz", ".xz")
SUFFIXES = (
    ".csv",
    ".csv.gz",
    ".csv.xz",
    ".json",
    ".json.gz",
    ".json.xz",
    ".jsonl",
    ".jsonl.gz",
    ".jsonl.xz",
    ".parquet",
)
_NO_BOUNDS_SET = InputBounds()
_PARQUET_ROWS = 64
"""Rows that are decoded at a time: one value may stand for many of them in the file."""
_MOST_UNCLOSED = 100
"""Records of a CSV file whose quotation marks never close, after which it is no CSV."""
_UTF_8_MARK = b"\xef\xbb\xbf"
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class FileRow:
    """One row as read. `number` is 1-based: the line in JSON Lines, else the record."""

    number: int
    content: Mapping[str, Any] | Rejection


@dataclass(frozen=True)
class FileRows:
    """The rows of a file in file order, and the columns that occur in any of them."""

    columns: tuple[str, ...]
    rows: tuple[FileRow, ...]


def is_supported(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def is_text(text: str) -> bool:
    """Tell whether the text can be stored as UTF-8, that is, holds no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_file(
    path: Path, limit: int | None = None, bounds: InputBounds = _NO_BOUNDS_SET
) -> FileRows:
    """Read at most `limit` rows of a file, in the format of its suffix.

    Raises:
        SetupError: the file is missing, unreadable, unsupported, no regular file, too large, empty,
            or not parseable in any of its rows; names the place.
    """
    if not is_supported(path.name):
        supported = ", ".join(SUFFIXES)
        raise SetupError(f"{path}: unsupported kind of file. Supported: {supported}")
    try:
        # Readers are generators, so a limit also bounds what is read of a CSV or JSON Lines file.
        rows = tuple(islice(_read_rows(path, bounds), limit))
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise SetupError(f"{path}: cannot be read: {_describe_error(error)}") from error
    if not rows:
        raise SetupError(f"{path}: the file has no rows")
    _check_format(path, rows)
    # A dict keeps the order of the columns, which error messages list.
    columns = dict[str, None]()
    for row in rows:
        if not isinstance(row.content, Rejection):
            columns.update(dict.fromkeys(row.content))
    return FileRows(tuple(columns), rows)


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


def _read_rows(path: Path, bounds: InputBounds) -> Iterator[FileRow]:
    name = path.name.lower().removesuffix(_compression(path))
    kind = name.rpartition(".")[2]
    readers: dict[str, Callable[[Path, InputBounds], Iterator[FileRow]]] = {
        "csv": _csv_rows,
        "json": _json_rows,
        "jsonl": _jsonl_rows,
        "parquet": _parquet_rows,
    }
    return readers[kind](path, bounds)


def _compression(path: Path) -> str:
    """Return the suffix of the compression, or an empty string."""
    suffix = path.suffix.lower()
    return suffix if suffix in _COMPRESSED else ""


@contextmanager
def _open(path: Path, bounds: InputBounds) -> Iterator[BoundedReader]:
    with open_regular(path) as raw, _decompressed(path, raw) as file:
        # Spreadsheets save it. Read as UTF-8, it would reject every row with a cryptic reason.
        if file.read(2) in _UTF_16_MARKS:
            raise SetupError(f"{path}: the text is UTF-16; save it as UTF-8")
        file.seek(0)
        yield BoundedReader(file, path, bounds)


def _decompressed(path: Path, raw: IO[bytes]) -> IO[bytes]:
    compression = _compression(path)
    if compression == ".gz":
        return cast("IO[bytes]", gzip.GzipFile(fileobj=raw))
    if compression == ".xz":
        return cast("IO[bytes]", lzma.LZMAFile(raw))
    return raw


def _csv_rows(path: Path, bounds: InputBounds) -> Iterator[FileRow]:
    # By default a field over 128 KiB is an error of the file. An oversized prompt must be an error
    # of its row.
    csv.field_size_limit(sys.maxsize)
    with (
        _open(path, bounds) as file,
        TextIOWrapper(
            BufferedReader(file),
            encoding="utf-8-sig",
            errors="surrogateescape",
            newline="",
        ) as text,
    ):
        read_line = partial(text.readline, bounds.row_bytes + 1)
        records = _csv_records(path, read_line, bounds)
        header = next(records, [])
        if isinstance(header, Rejection):
            raise SetupError(f"{path}: {header.detail}")
        _check_header(path, header)
        number = 0
        for record in records:
            # An empty line is no record, and is not counted.
            if record:
                number += 1
                file.charge(LEAST_ROW_BYTES)
                yield FileRow(number, _csv_content(header, record))


class _RecordTooLarge(Exception):
    pass


def _csv_records(
    path: Path, read_line: Callable[[], str], bounds: InputBounds
) -> Iterator[list[str] | Rejection]:
    """Yield records. One that cannot be read costs its first line, and no line after it."""
    unread = deque[str]()
    line_number = 0
    unclosed = 0
    while True:
        lines: list[str] = []
        source = _record_lines(read_line, unread, lines, bounds.row_bytes)
        try:
            record: list[str] | Rejection = next(csv.reader(source, strict=True))
        except StopIteration:
            return
        except csv.Error as error:
            place = f"line {line_number + 1}"
            detail = f"not parseable CSV at {place}: {error}"
            record = Rejection(DropReason.NOT_PARSEABLE, detail)
        except _RecordTooLarge:
            detail = f"line {line_number + 1}: {bounds.row_too_large}"
            record = Rejection(DropReason.TOO_LONG, detail)
        line_number += len(lines)
        if isinstance(record, Rejection) and len(lines) > 1:
            # A quotation mark that never closes has swallowed good lines.
            unread.extendleft(reversed(lines[1:]))
            line_number -= len(lines) - 1
            unclosed += 1
            if unclosed > _MOST_UNCLOSED:
                raise SetupError(
                    f"{path}: more than {_MOST_UNCLOSED} records with quotation marks that never "
                    f"close, the last at line {line_number}; is the file CSV?"
                )
        yield record


def _record_lines(
    read_line: Callable[[], str], unread: deque[str], lines: list[str], most: int
) -> Iterator[str]:
    """Yield lines for one record, and keep them in `lines`."""
    size = 0
    while line := unread.popleft() if unread else read_line():
        lines.append(line)
        size += len(line)
        if size > most:
            _skip_line(line, read_line)
            raise _RecordTooLarge
        yield line


def _skip_line(line: AnyStr, read_line: Callable[[], AnyStr]) -> None:
    """Read on to the end of a line of which only the beginning was read."""
    ends = ("\n", "\r") if isinstance(line, str) else (b"\n",)
    while line and not line.endswith(cast("Any", ends)):
        line = read_line()


def _check_header(path: Path, header: list[str]) -> None:
    repeated = {name for name in header if header.count(name) > 1}
    # The later column would silently replace the earlier one in every row.
    if repeated:
        raise SetupError(
            f"{path}: the header names columns twice: {', '.join(sorted(repeated))}"
        )


def _csv_content(
    header: list[str], fields: list[str] | Rejection
) -> Mapping[str, Any] | Rejection:
    if isinstance(fields, Rejection):
        return fields
    if len(fields) != len(header):
        detail = f"{len(fields)} fields, but the header has {len(header)}"
        return Rejection(DropReason.NOT_AN_OBJECT, detail)
    if not all(map(is_text, fields)):
        return Rejection(DropReason.NOT_TEXT, "not valid UTF-8")
    return dict(zip(header, fields, strict=True))


def _jsonl_rows(path: Path, bounds: InputBounds) -> Iterator[FileRow]:
    with _open(path, bounds) as file:
        read_line = partial(BufferedReader(file).readline, bounds.row_bytes + 1)
        for number, line in enumerate(_lines(read_line), start=1):
            # The mark is one only at the start of a file.
            raw = line.removeprefix(_UTF_8_MARK) if number == 1 else line
            if len(line) > bounds.row_bytes:
                _skip_line(line, read_line)
                rejection = Rejection(DropReason.TOO_LONG, bounds.row_too_large)
                yield FileRow(number, rejection)
            elif raw.strip():
                file.charge(LEAST_ROW_BYTES)
                yield FileRow(number, _jsonl_content(number, raw, bounds))


def _lines(read_line: Callable[[], bytes]) -> Iterable[bytes]:
    return iter(read_line, b"")


def _jsonl_content(
    number: int, line: bytes, bounds: InputBounds
) -> Mapping[str, Any] | Rejection:
    try:
        value = json.loads(line.decode())
    except UnicodeDecodeError as error:
        detail = f"not valid UTF-8: {error.reason} at byte {error.start}"
        return Rejection(DropReason.NOT_TEXT, detail)
    except json.JSONDecodeError as error:
        place = f"line {number}, column {error.colno}"
        detail = f"not parseable JSON at {place}: {error.msg}"
        return Rejection(DropReason.NOT_PARSEABLE, detail)
    except RecursionError:
        detail = f"not parseable JSON at line {number}: {bounds.too_deep}"
        return Rejection(DropReason.NOT_PARSEABLE, detail)
    # A number beyond the limit of the parser.
    except ValueError as error:
        detail = f"not parseable JSON at line {number}: {error}"
        return Rejection(DropReason.NOT_PARSEABLE, detail)
    return _object_or_rejection(value, bounds)


def _json_rows(path: Path, bounds: InputBounds) -> Iterator[FileRow]:
    with _open(path, bounds) as file:
        data = BufferedReader(file).read()
    text = data.decode("utf-8-sig", errors="surrogateescape")
    if not text.strip():
        return
    value = _parse_json(path, text, bounds)
    if not isinstance(value, list):
        raise SetupError(
            f"{path}: expected a JSON list of objects, found {_json_kind(value)}"
        )
    may_be_large = len(data) > bounds.row_bytes
    for number, item in enumerate(value, start=1):
        content = _object_or_rejection(item, bounds)
        is_row = not isinstance(content, Rejection)
        if may_be_large and is_row and len(json.dumps(item)) > bounds.row_bytes:
            content = Rejection(DropReason.TOO_LONG, bounds.row_too_large)
        yield FileRow(number, content)


def _parse_json(path: Path, text: str, bounds: InputBounds) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise SetupError(
            f"{path}: not parseable JSON at {place}: {error.msg}"
        ) from error
    except RecursionError as error:
        raise SetupError(
            f"{path}: not parseable JSON: {bounds.too_deep}; in JSON Lines, it would be "
            "one rejected row"
        ) from error
    # A number beyond the limit of the parser.
    except ValueError as error:
        raise SetupError(f"{path}: not parseable JSON: {error}") from error


def _object_or_rejection(
    value: object, bounds: InputBounds
) -> Mapping[str, Any] | Rejection:
    if isinstance(value, dict):
        if bounds.is_too_deep(value):
            return Rejection(DropReason.NOT_PARSEABLE, bounds.too_deep)
        return value
    return Rejection(
        DropReason.NOT_AN_OBJECT, f"expected a JSON object, found {_json_kind(value)}"
    )


def _json_kind(value: object) -> str:
    kinds = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "a boolean",
        type(None): "null",
    }
    return kinds.get(type(value), "a number")


def _parquet_rows(path: Path, bounds: InputBounds) -> Iterator[FileRow]:
    with open_regular(path) as raw:
        reader = BoundedReader(raw, path, bounds)
        number = 0
        try:
            for batch in pq.ParquetFile(raw).iter_batches(_PARQUET_ROWS):
                # A few bytes in the file may stand for any number of rows, and of the same value.
                reader.charge(batch.nbytes + batch.num_rows * LEAST_ROW_BYTES)
                for row in _frame(batch).iter_rows(named=True):
                    # A Parquet file has no lines, so rows are counted from 1 as in CSV.
                    number += 1
                    yield FileRow(number, row)
        except (pa.ArrowException, pl.exceptions.PolarsError) as error:
            raise SetupError(f"{path}: not a readable Parquet file: {error}") from error


def _frame(batch: pa.RecordBatch) -> pl.DataFrame:
    frame = pl.from_arrow(batch)
    assert isinstance(frame, pl.DataFrame)
    return frame
