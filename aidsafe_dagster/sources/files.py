"""Files to rows: CSV, JSON, JSON Lines (each also as .gz or .xz) and Parquet.

Text is decoded so that a byte that is not UTF-8 survives as a lone surrogate, which no valid text contains: the row
that holds it is rejected later, and the rest of the file is read as if nothing had happened.
"""

import csv
import gzip
import json
import lzma
import sys
import zlib
from collections.abc import Iterator, Mapping
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
    *(kind + end for kind in (".csv", ".json", ".jsonl") for end in ("", *_COMPRESSED)),
    ".parquet",
)
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class FileRow:
    """One row as read. `number` is 1-based: the line in JSON Lines, else the record."""

    number: int
    content: Mapping[str, Any] | Rejection


@dataclass(frozen=True)
class FileRows:
    """The rows of a file in file order, and the columns seen in any of them."""

    columns: tuple[str, ...]
    rows: tuple[FileRow, ...]


def is_supported(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def is_text(text: str) -> bool:
    """True when the text can be stored as UTF-8: it holds no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_file(path: Path, limit: int | None = None) -> FileRows:
    """Reads a file by its suffix, at most `limit` rows of it.

    Raises:
        SetupError: the file is missing, unreadable, of an unsupported kind, empty or not parseable; names the place.
    """
    if not is_supported(path.name):
        raise SetupError(f"{path}: unsupported kind of file. Supported: {', '.join(SUFFIXES)}")
    try:
        rows = tuple(islice(_rows(path), limit))
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise SetupError(f"{path}: cannot be read: {_cause(error)}") from error
    if not rows:
        raise SetupError(f"{path}: the file has no rows")
    mappings = (row.content for row in rows if not isinstance(row.content, Rejection))
    return FileRows(
        tuple(dict.fromkeys(column for mapping in mappings for column in mapping)), rows
    )


def _cause(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, IsADirectoryError):
        return "it is a folder, not a file"
    return str(error) or type(error).__name__


def _rows(path: Path) -> Iterator[FileRow]:
    kind = path.name.lower().removesuffix(_compression(path)).rpartition(".")[2]
    return {"csv": _csv_rows, "json": _json_rows, "jsonl": _jsonl_rows, "parquet": _parquet_rows}[
        kind
    ](path)


def _compression(path: Path) -> str:
    return next((end for end in _COMPRESSED if path.name.lower().endswith(end)), "")


@contextmanager
def _opened(path: Path) -> Iterator[BufferedReader | gzip.GzipFile | lzma.LZMAFile]:
    with _uncompressed(path) as file:
        if file.read(2) in _UTF_16_MARKS:
            raise SetupError(f"{path}: the text is UTF-16; save it as UTF-8")
        file.seek(0)
        yield file


def _uncompressed(path: Path) -> BufferedReader | gzip.GzipFile | lzma.LZMAFile:
    if _compression(path) == ".gz":
        return gzip.GzipFile(path)
    return lzma.LZMAFile(path) if _compression(path) == ".xz" else path.open("rb")


def _csv_rows(path: Path) -> Iterator[FileRow]:
    csv.field_size_limit(
        sys.maxsize
    )  # the default refuses prompts over 128 KiB, which have to be rejected row by row
    with (
        _opened(path) as file,
        TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="") as text,
    ):
        records = csv.reader(text, strict=True)
        try:
            header = next(records, [])
            _check_header(path, header)
            for number, fields in enumerate(filter(None, records), start=1):
                yield FileRow(number, _csv_content(header, fields))
        except csv.Error as error:
            raise SetupError(
                f"{path}: not parseable CSV at line {records.line_num}: {error}"
            ) from error


def _check_header(path: Path, header: list[str]) -> None:
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise SetupError(f"{path}: the header names columns twice: {', '.join(repeated)}")


def _csv_content(header: list[str], fields: list[str]) -> Mapping[str, Any] | Rejection:
    if len(fields) != len(header):
        return Rejection(
            DropReason.NOT_AN_OBJECT, f"{len(fields)} fields, but the header has {len(header)}"
        )
    if not all(map(is_text, fields)):
        return Rejection(DropReason.NOT_TEXT, "not valid UTF-8")
    return dict(zip(header, fields, strict=True))


def _jsonl_rows(path: Path) -> Iterator[FileRow]:
    with _opened(path) as file:
        for number, line in enumerate(file, start=1):
            raw = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if raw.strip():
                yield FileRow(number, _jsonl_content(path, number, raw))


def _jsonl_content(path: Path, number: int, line: bytes) -> Mapping[str, Any] | Rejection:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        return Rejection(
            DropReason.NOT_TEXT, f"not valid UTF-8: {error.reason} at byte {error.start}"
        )
    return _object_or_rejection(_parsed(path, text, f"line {number}"))


def _json_rows(path: Path) -> Iterator[FileRow]:
    with _opened(path) as file:
        text = file.read().decode("utf-8-sig", errors="surrogateescape")
    if not text.strip():
        return
    value = _parsed(path, text, None)
    if not isinstance(value, list):
        raise SetupError(f"{path}: expected a JSON list of objects, found {_json_kind(value)}")
    for number, item in enumerate(value, start=1):
        yield FileRow(number, _object_or_rejection(item))


def _parsed(path: Path, text: str, place: str | None) -> object:
    """The JSON value of a text; `place` names where it stands, when it is not the whole file."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = place or f"line {error.lineno}"
        raise SetupError(
            f"{path}: not parseable JSON at {place}, column {error.colno}: {error.msg}"
        ) from error
    except (
        ValueError,
        RecursionError,
    ) as error:  # a number or a nesting beyond what the parser takes
        raise SetupError(
            f"{path}: not parseable JSON{f' at {place}' if place else ''}: {error}"
        ) from error


def _object_or_rejection(value: object) -> Mapping[str, Any] | Rejection:
    if isinstance(value, dict):
        return value
    return Rejection(DropReason.NOT_AN_OBJECT, f"expected a JSON object, found {_json_kind(value)}")


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
    with path.open("rb"):  # polars reports a missing file in many ways; the system in one
        pass
    try:
        frame = pl.read_parquet(path, glob=False)
    except pl.exceptions.PolarsError as error:
        raise SetupError(f"{path}: not a readable Parquet file: {error}") from error
    for number, row in enumerate(frame.iter_rows(named=True), start=1):
        yield FileRow(number, row)
