"""A row as a reader of files hands it on, and how the file was read."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.sources.rejection import Rejection


class NotRows(SetupError):
    """A file of a known kind that holds something else than rows of this source."""


Columns = Callable[[Sequence[str]], Collection[str]]
"""Takes the names of a file's columns, and returns those that are read."""


@dataclass(frozen=True)
class FileForm:
    """How the text of a file is written. None: it is found out."""

    delimiter: str | None = None
    """One character between the fields of a CSV file."""
    encoding: str | None = None
    """Name of a codec of Python."""


DETECTED = FileForm()


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
    form: str = ""
    """How the file was read, where that is worth a word: its encoding, its delimiter."""


def all_columns(names: Sequence[str]) -> Sequence[str]:
    return names


def is_text(text: str) -> bool:
    """Tell whether the text can be stored as UTF-8, that is, holds no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
