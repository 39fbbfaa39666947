"""TOML that a person wrote: what is wrong with it is told with the line that it stands on.

Python's parser names a line and a column, and pydantic the path of a key. A message that quotes the
line is quicker to mend. What may be a key or a password is not quoted.
"""

import re
import tomllib
from collections.abc import Iterator, Sequence
from typing import Any

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.secret_mask import MASK, mask_url_secrets

_POSITION = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_HEADER = re.compile(r"\s*(\[\[?)([^\[\]]+)\]")
_KEY = r"(?:[\w-]+|\"[^\"]*\"|'[^']*')"
_ASSIGNMENT = re.compile(rf"\s*({_KEY}(?:\s*\.\s*{_KEY})*)\s*=")
_PLAIN = {"Illegal character '\\n'": "a quotation mark is missing at the line's end"}
_FENCE = re.compile(r"\"\"\"|'''")
_SECRET_NAME = re.compile(
    r"(?:key|token|secret|password)[\"']?\s*[=:\"']", re.IGNORECASE
)
_SECRET_VALUE = re.compile(r"(?:sk-|hf_|gh[pousr]_|AKIA)\w")
_WIDTH = 64
"""Characters of a line that are quoted."""
_AFTER = 16

Path = tuple[str | int, ...]
"""Keys and positions in lists, as pydantic gives them."""


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """Return the table that a text holds.

    Args:
        text: of the file.
        where: its name, for the message.

    Raises:
        SetupError: it is no TOML. The message has the line, and a caret below what is wrong.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        position = _POSITION.search(message)
        if position is None:
            raise SetupError(f"{where}: not a TOML file: {message}") from error
        # The parser names the line's end, where a person misses a quotation mark.
        what = _PLAIN.get(message[: position.start()], message[: position.start()])
        line, column = _place(text, position)
        raise SetupError(
            f"{where}, line {line}: not a TOML file: {what}\n"
            + _quote(text, line, column)
        ) from error


def quote_key(text: str, path: Sequence[str | int]) -> str:
    """Return the line on which a key, or the nearest table around it, stands.

    Returns:
        Lines to go below a message, each with a line end before it; empty if nothing was found.
    """
    line = line_of_key(text, path)
    return f"\n{_quote(text, line)}" if line else ""


def line_of_key(text: str, path: Sequence[str | int]) -> int:
    """Return the number of the line on which a key, or the nearest table around it, stands.

    Returns:
        From 1 on; 0 if nothing was found.
    """
    wanted = tuple(path)
    best, line = 0, 0
    for number, found in _assignments(text):
        common = _common(found, wanted)
        if common == len(found) and common > best:
            best, line = common, number
    return line


def _place(text: str, position: re.Match[str]) -> tuple[int, int]:
    if position[1]:
        return int(position[1]), int(position[2])
    lines = text.rstrip().splitlines() or [""]
    return len(lines), len(lines[-1]) + 1


def _quote(text: str, line: int, column: int | None = None) -> str:
    """Return a line with its number, and a caret below a column."""
    lines = text.splitlines()
    quoted = lines[line - 1] if line <= len(lines) else ""
    quoted = quoted.replace("\t", " ")
    margin = f"  {line} | "
    if _SECRET_NAME.search(quoted) or _SECRET_VALUE.search(quoted):
        # Whether it is a secret cannot be told of a line that does not parse.
        key = _ASSIGNMENT.match(quoted)
        return f"{margin}{key[1]} = {MASK}" if key else f"{margin}{MASK}"
    # Of a long line the part around the mistake, with a little of what follows.
    start = max(0, (column or 0) + _AFTER - _WIDTH)
    shown = mask_url_secrets(quoted[start : start + _WIDTH].rstrip())
    if column is None:
        return f"{margin}{shown}"
    mark = "…" if start else ""
    shown = mark + shown
    gap = " " * (len(mark) + column - 1 - start)
    return f"{margin}{shown}\n{' ' * (len(margin) - 2)}| {gap}^"


def _assignments(text: str) -> Iterator[tuple[int, Path]]:
    """Yield the lines that begin a table or set a key, each with the path that it is about."""
    table: Path = ()
    counts: dict[Path, int] = {}
    fence = ""
    for number, line in enumerate(text.splitlines(), start=1):
        inside = bool(fence)
        for mark in _FENCE.findall(line):
            fence = "" if fence == mark else fence or mark
        if inside or line.lstrip().startswith("#"):
            continue
        header = _HEADER.match(line)
        if header:
            table = _keys(header[2])
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
            table = _with_positions(table, counts)
            yield number, table
            continue
        assignment = _ASSIGNMENT.match(line)
        if assignment:
            yield number, table + _keys(assignment[1])


def _keys(dotted: str) -> Path:
    return tuple(key.strip("\"' ") for key in re.findall(_KEY, dotted))


def _with_positions(table: Path, counts: dict[Path, int]) -> Path:
    """Return the path of a table, with the position of each list that it is in."""
    path: Path = ()
    for end in range(1, len(table) + 1):
        path += (table[end - 1],)
        position = counts.get(table[:end])
        if position is not None:
            path += (position,)
    return path


def _common(one: Path, other: Path) -> int:
    """Return how many parts two paths have in common from their beginning."""
    length = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        length += 1
    return length
