"""Rows of JSON and JSON Lines. The content says which of the two a file is, not its name.

A JSON file is a list of objects, or one object with a single list of objects in it, as web services
answer. In JSON Lines, a line that is no JSON is one rejected row.
"""

import io
import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.sources.bounds import LEAST_ROW_BYTES, InputBounds
from aidsafe_dagster.sources.lines import skip_line
from aidsafe_dagster.sources.rejection import DropReason, Rejection
from aidsafe_dagster.sources.rows import FileRow, NotRows
from aidsafe_dagster.sources.text_files import TextFile

_MOST_KEYS = 8


class _MoreValues(SetupError):
    """After the first value another one begins, as in JSON Lines."""


def json_rows(path: Path, file: TextFile, bounds: InputBounds) -> Iterator[FileRow]:
    """Yield the rows of a file that is named `.json`.

    Raises:
        SetupError: it is neither a list of objects nor JSON Lines.
    """
    data = file.bytes.read()
    if not data.strip():
        return
    try:
        value = _parse_json(path, data, bounds)
    except _MoreValues:
        yield from _lines(io.BytesIO(data), file, bounds)
    else:
        yield from _list_rows(_list_in(path, value), len(data), bounds)


def jsonl_rows(path: Path, file: TextFile, bounds: InputBounds) -> Iterator[FileRow]:
    """Yield the rows of a file that is named `.jsonl`, which may yet be a JSON list."""
    if file.bytes.peek(1)[:1] != b"[":
        yield from _lines(file.bytes, file, bounds)
        return
    data = file.bytes.read()
    try:
        value = _parse_json(path, data, bounds)
    except SetupError:
        yield from _lines(io.BytesIO(data), file, bounds)
    else:
        yield from _list_rows(_list_in(path, value), len(data), bounds)


def _lines(
    stream: io.BufferedIOBase, file: TextFile, bounds: InputBounds
) -> Iterator[FileRow]:
    read_line = partial(stream.readline, bounds.row_bytes + 1)
    for number, line in enumerate(iter(read_line, b""), start=1):
        if len(line) > bounds.row_bytes:
            skip_line(line, read_line)
            yield FileRow(number, Rejection(DropReason.TOO_LONG, bounds.row_too_large))
        elif line.strip():
            file.bounded.charge(LEAST_ROW_BYTES)
            yield FileRow(number, _line_content(number, line, bounds))


def _line_content(
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


def _list_rows(items: list[Any], size: int, bounds: InputBounds) -> Iterator[FileRow]:
    may_be_large = size > bounds.row_bytes
    for number, item in enumerate(items, start=1):
        content = _object_or_rejection(item, bounds)
        is_row = not isinstance(content, Rejection)
        if may_be_large and is_row and len(json.dumps(item)) > bounds.row_bytes:
            content = Rejection(DropReason.TOO_LONG, bounds.row_too_large)
        yield FileRow(number, content)


def _parse_json(path: Path, data: bytes, bounds: InputBounds) -> object:
    text = data.decode("utf-8", errors="surrogateescape")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        message = f"{path}: not parseable JSON at {place}: {error.msg}"
        kind = _MoreValues if error.msg == "Extra data" else SetupError
        raise kind(message) from error
    except RecursionError as error:
        raise SetupError(
            f"{path}: not parseable JSON: {bounds.too_deep}; in JSON Lines, it would be "
            "one rejected row"
        ) from error
    # A number beyond the limit of the parser.
    except ValueError as error:
        raise SetupError(f"{path}: not parseable JSON: {error}") from error


def _list_in(path: Path, value: object) -> list[Any]:
    """Return the list of rows that a JSON file is, or has under one key."""
    if isinstance(value, list):
        return value
    message = f"{path}: expected a JSON list of objects, found {_json_kind(value)}"
    if not isinstance(value, dict):
        raise NotRows(message)
    lists = [item for item in value.values() if _is_list_of_objects(item)]
    if len(lists) == 1:
        rows: list[Any] = lists[0]
        return rows
    keys = ", ".join(map(str, list(value)[:_MOST_KEYS])) or "none"
    message += f" with the keys {keys}"
    if any(isinstance(item, dict | list) for item in value.values()):
        message += "; pandas writes a list of rows with orient='records'"
    raise NotRows(message)


def _is_list_of_objects(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


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
