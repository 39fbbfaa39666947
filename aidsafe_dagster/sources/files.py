"""Read rows from CSV, JSON, JSON Lines (each also as .gz or .xz) and Parquet files.

A byte that is not UTF-8 is decoded to a lone surrogate, which no valid text contains. The row that
holds it is rejected later, and the rest of the file is read normally.
"""

import csv
import gzip
import json
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader, TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from aidsafe_dagster.recipe.errors import SetupError
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


def read_file(path: Path, limit: int | None = None) -> FileRows:
    """Read at most `limit` rows of a file, in the format of its suffix.

    Raises:
        SetupError: the file is missing, unreadable, unsupported, empty or not parseable; names the
            place.
    """
    if not is_supported(path.name):
        supported = ", ".join(SUFFIXES)
        raise SetupError(f"{path}: unsupported kind of file. Supported: {supported}")
    try:
        # Readers are generators, so a limit also bounds what is read of a CSV or JSON Lines file.
        rows = tuple(islice(_read_rows(path), limit))
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise SetupError(f"{path}: cannot be read: {_describe_error(error)}") from error
    if not rows:
        raise SetupError(f"{path}: the file has no rows")
    # A dict keeps the order of the columns, which error messages list.
    columns = dict[str, None]()
    for row in rows:
        if not isinstance(row.content, Rejection):
            columns.update(dict.fromkeys(row.content))
    return FileRows(tuple(columns), rows)


def _describe_error(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, IsADirectoryError):
        return "it is a folder, not a file"
    return str(error) or type(error).__name__


def _read_rows(path: Path) -> Iterator[FileRow]:
    name = path.name.lower().removesuffix(_compression(path))
    kind = name.rpartition(".")[2]
    readers: dict[str, Callable[[Path], Iterator[FileRow]]] = {
        "csv": _csv_rows,
        "json": _json_rows,
        "jsonl": _jsonl_rows,
        "parquet": _parquet_rows,
    }
    return readers[kind](path)


def _compression(path: Path) -> str:
    """Return the suffix of the compression, or an empty string."""
    suffix = path.suffix.lower()
    return suffix if suffix in _COMPRESSED else ""


@contextmanager
def _open(path: Path) -> Iterator[BufferedReader | gzip.GzipFile | lzma.LZMAFile]:
    with _open_compressed(path) as file:
        # Spreadsheets save it. Read as UTF-8, it would reject every row with a cryptic reason.
        if file.read(2) in _UTF_16_MARKS:
            raise SetupError(f"{path}: the text is UTF-16; save it as UTF-8")
        file.seek(0)
        yield file


def _open_compressed(path: Path) -> BufferedReader | gzip.GzipFile | lzma.LZMAFile:
    compression = _compression(path)
    if compression == ".gz":
        return gzip.GzipFile(path)
    if compression == ".xz":
        return lzma.LZMAFile(path)
    return path.open("rb")


def _csv_rows(path: Path) -> Iterator[FileRow]:
    # By default a field over 128 KiB is an error of the file. An oversized prompt must be an error
    # of its row.
    csv.field_size_limit(sys.maxsize)
    with (
        _open(path) as file,
        TextIOWrapper(
            file, encoding="utf-8-sig", errors="surrogateescape", newline=""
        ) as text,
    ):
        records = csv.reader(text, strict=True)
        try:
            header = next(records, [])
            _check_header(path, header)
            # An empty line is no record, and is not counted.
            for number, fields in enumerate(filter(None, records), start=1):
                yield FileRow(number, _csv_content(header, fields))
        except csv.Error as error:
            raise SetupError(
                f"{path}: not parseable CSV at line {records.line_num}: {error}"
            ) from error


def _check_header(path: Path, header: list[str]) -> None:
    repeated = {name for name in header if header.count(name) > 1}
    # The later column would silently replace the earlier one in every row.
    if repeated:
        raise SetupError(
            f"{path}: the header names columns twice: {', '.join(sorted(repeated))}"
        )


def _csv_content(header: list[str], fields: list[str]) -> Mapping[str, Any] | Rejection:
    if len(fields) != len(header):
        detail = f"{len(fields)} fields, but the header has {len(header)}"
        return Rejection(DropReason.NOT_AN_OBJECT, detail)
    if not all(map(is_text, fields)):
        return Rejection(DropReason.NOT_TEXT, "not valid UTF-8")
    return dict(zip(header, fields, strict=True))


def _jsonl_rows(path: Path) -> Iterator[FileRow]:
    with _open(path) as file:
        for number, line in enumerate(file, start=1):
            # The mark is one only at the start of a file.
            raw = line.removeprefix(_UTF_8_MARK) if number == 1 else line
            if raw.strip():
                yield FileRow(number, _jsonl_content(path, number, raw))


def _jsonl_content(
    path: Path, number: int, line: bytes
) -> Mapping[str, Any] | Rejection:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        detail = f"not valid UTF-8: {error.reason} at byte {error.start}"
        return Rejection(DropReason.NOT_TEXT, detail)
    return _object_or_rejection(_parse_json(path, text, f"line {number}"))


def _json_rows(path: Path) -> Iterator[FileRow]:
    with _open(path) as file:
        text = file.read().decode("utf-8-sig", errors="surrogateescape")
    if not text.strip():
        return
    value = _parse_json(path, text)
    if not isinstance(value, list):
        raise SetupError(
            f"{path}: expected a JSON list of objects, found {_json_kind(value)}"
        )
    for number, item in enumerate(value, start=1):
        yield FileRow(number, _object_or_rejection(item))


def _parse_json(path: Path, text: str, line: str = "") -> object:
    """Parse a text; `line` says where it is if it is not the whole file."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        # In JSON Lines, the parser sees a single line and counts from there.
        place = line or f"line {error.lineno}"
        raise SetupError(
            f"{path}: not parseable JSON at {place}, column {error.colno}: {error.msg}"
        ) from error
    # A number or a nesting beyond the limits of the parser.
    except (ValueError, RecursionError) as error:
        place = f" at {line}" if line else ""
        raise SetupError(f"{path}: not parseable JSON{place}: {error}") from error


def _object_or_rejection(value: object) -> Mapping[str, Any] | Rejection:
    if isinstance(value, dict):
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


def _parquet_rows(path: Path) -> Iterator[FileRow]:
    # Polars reports a missing file in many ways, the operating system in one.
    with path.open("rb"):
        pass
    try:
        # No glob: a file name may contain brackets.
        frame = pl.read_parquet(path, glob=False)
    except pl.exceptions.PolarsError as error:
        raise SetupError(f"{path}: not a readable Parquet file: {error}") from error
    # A Parquet file has no lines, so rows are counted from 1 as in CSV.
    for number, row in enumerate(frame.iter_rows(named=True), start=1):
        yield FileRow(number, row)
