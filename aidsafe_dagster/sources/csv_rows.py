"""Rows of a CSV file, whatever separates its fields.

A record that cannot be read costs its first line, and no line after it. Columns without a name, as
spreadsheets leave them at the right, are no columns.
"""

import csv
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NamedTuple

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.sources.bounds import LEAST_ROW_BYTES, BoundedReader, InputBounds
from aidsafe_dagster.sources.delimiters import SAMPLE_LINES, CsvForm, detect_form
from aidsafe_dagster.sources.lines import skip_line
from aidsafe_dagster.sources.rejection import DropReason, Rejection
from aidsafe_dagster.sources.rows import Columns, FileForm, FileRow, is_text
from aidsafe_dagster.sources.text_files import open_text

_MOST_UNCLOSED = 100
"""Records whose quotation marks never close, after which the file is no CSV."""
_SAMPLE_CHARS = 2**20


@dataclass(frozen=True)
class CsvTable:
    columns: tuple[str, ...]
    form: str
    rows: Iterator[FileRow]


class _Header(NamedTuple):
    names: tuple[str, ...]
    """Stripped of white space, with those that repeat or are empty."""
    read: dict[int, str]
    """Position → name of the columns that are read."""

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(filter(None, self.names)))


@contextmanager
def open_csv(
    path: Path, bounds: InputBounds, form: FileForm, columns: Columns
) -> Iterator[CsvTable]:
    """Open a CSV file and read its header.

    Raises:
        SetupError: the header cannot be read, or names a column twice that is to be read.
    """
    # By default a field over 128 KiB is an error of the file. An oversized prompt must be an error
    # of its row.
    csv.field_size_limit(sys.maxsize)
    with (
        open_text(path, bounds, form.encoding) as file,
        TextIOWrapper(
            file.bytes, encoding="utf-8", errors="surrogateescape", newline=""
        ) as text,
    ):
        read_line = partial(text.readline, bounds.row_bytes + 1)
        unread = deque(_first_lines(read_line))
        csv_form = detect_form(tuple(unread), form.delimiter)
        if csv_form.has_sep_line:
            unread.popleft()
        lines = _Lines(read_line, unread, int(csv_form.has_sep_line))
        records = _csv_records(path, lines, csv_form, bounds)
        header = _read_header(path, next(records, []), columns)
        told = [] if file.encoding == "utf-8" else [file.encoding]
        if not csv_form.is_usual:
            told.append(csv_form.name)
        rows = _rows(records, header, file.bounded, csv_form)
        yield CsvTable(header.columns, ", ".join(told), rows)


def _first_lines(read_line: Callable[[], str]) -> Iterator[str]:
    size = 0
    for _ in range(SAMPLE_LINES):
        line = read_line()
        size += len(line)
        if not line:
            return
        yield line
        if size > _SAMPLE_CHARS:
            return


@dataclass
class _Lines:
    read_line: Callable[[], str]
    unread: deque[str]
    number: int
    """Of the line that was read last."""

    def next(self) -> str:
        return self.unread.popleft() if self.unread else self.read_line()


class _RecordTooLarge(Exception):
    pass


def _csv_records(
    path: Path, lines: _Lines, form: CsvForm, bounds: InputBounds
) -> Iterator[list[str] | Rejection]:
    unclosed = 0
    while True:
        taken: list[str] = []
        source = _record_lines(lines, taken, bounds.row_bytes)
        reader = csv.reader(
            source,
            delimiter=form.delimiter,
            skipinitialspace=form.skips_spaces,
            strict=True,
        )
        try:
            record: list[str] | Rejection = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            place = f"line {lines.number + 1}"
            detail = f"not parseable CSV at {place}: {error}"
            record = Rejection(DropReason.NOT_PARSEABLE, detail)
        except _RecordTooLarge:
            detail = f"line {lines.number + 1}: {bounds.row_too_large}"
            record = Rejection(DropReason.TOO_LONG, detail)
        lines.number += len(taken)
        if isinstance(record, Rejection) and len(taken) > 1:
            # A quotation mark that never closes has swallowed good lines.
            lines.unread.extendleft(reversed(taken[1:]))
            lines.number -= len(taken) - 1
            unclosed += 1
            if unclosed > _MOST_UNCLOSED:
                raise SetupError(
                    f"{path}: more than {_MOST_UNCLOSED} records with quotation marks that never "
                    f"close, the last at line {lines.number}; is the file CSV?"
                )
        # An empty line is no record, and is not counted.
        if record:
            yield record


def _record_lines(lines: _Lines, taken: list[str], most: int) -> Iterator[str]:
    """Yield lines for one record, and keep them in `taken`."""
    size = 0
    while line := lines.next():
        taken.append(line)
        size += len(line)
        if size > most:
            skip_line(line, lines.next)
            raise _RecordTooLarge
        yield line


def _read_header(
    path: Path, record: Sequence[str] | Rejection, columns: Columns
) -> _Header:
    if isinstance(record, Rejection):
        raise SetupError(f"{path}: {record.detail}")
    # A mark may stand here, after a line that names the separator.
    names = tuple(name.strip().strip("\ufeff").strip() for name in record)
    broken = [name for name in names if not is_text(name)]
    if broken:
        raise SetupError(
            f"{path}: the header is not UTF-8; name its encoding "
            "(--encoding, or the source's 'encoding')"
        )
    header = _Header(names, {})
    if not header.columns:
        return header
    wanted = set(columns(header.columns))
    # The later column would silently replace the earlier one in every row.
    repeated = sorted(name for name in wanted if names.count(name) > 1)
    if repeated:
        raise SetupError(
            f"{path}: the header names columns twice: {', '.join(repeated)}"
        )
    read = {at: name for at, name in enumerate(names) if name in wanted}
    return _Header(names, read)


def _rows(
    records: Iterator[list[str] | Rejection],
    header: _Header,
    file: BoundedReader,
    form: CsvForm,
) -> Iterator[FileRow]:
    for number, record in enumerate(records, start=1):
        file.charge(LEAST_ROW_BYTES)
        yield FileRow(number, _content(header, record, form))


def _content(
    header: _Header, fields: list[str] | Rejection, form: CsvForm
) -> Mapping[str, Any] | Rejection:
    if isinstance(fields, Rejection):
        return fields
    size = len(header.names)
    # Spreadsheets fill up a row with empty fields.
    if len(fields) < size or any(map(str.strip, fields[size:])):
        detail = f"{len(fields)} fields, but the header has {size} ({form.name})"
        return Rejection(DropReason.NOT_AN_OBJECT, detail)
    content = {name: fields[at] for at, name in header.read.items()}
    if not all(map(is_text, content.values())):
        return Rejection(
            DropReason.NOT_TEXT, "not valid UTF-8; --encoding names another encoding"
        )
    return content
