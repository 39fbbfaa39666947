"""Editing `aidsafe.toml` for its owner: comments and order stay, and nothing else changes."""

import shutil
import tomllib
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import InlineTable, Table

from aidsafe_dagster.primitives.atomic_write import atomic_write
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.toml_text import parse_toml


@dataclass(frozen=True)
class Edit:
    """One key of a table, set to a value or removed."""

    table: tuple[str, ...]
    key: str
    value: Any
    """None removes the key."""

    @property
    def place(self) -> str:
        return ".".join((*self.table, self.key))


def as_toml(edits: Sequence[Edit]) -> str:
    """Return edits as the lines that a person would write; removals as comments."""
    tables: dict[tuple[str, ...], list[str]] = {}
    for edit in edits:
        lines = tables.setdefault(edit.table, [])
        if edit.value is None:
            lines.append(f"# remove {edit.key}")
        else:
            lines.append(f"{edit.key} = {_item(edit.value).as_string()}")
    parts = []
    for table, lines in tables.items():
        name = ".".join(map(_quoted, table))
        parts.append("\n".join([f"[{name}]", *lines]))
    return "\n\n".join(parts)


def edit_settings(file: Path, edits: Sequence[Edit]) -> list[str]:
    """Apply edits to a settings file, which is made if there is none; return the changed lines.

    Raises:
        SetupError: it is no TOML, has a form that cannot be edited safely, or cannot be written.
            The file is as it was then.
    """
    before = _read(file)
    after = _edited(file, before, edits)
    if after == before:
        return []
    # A link stays a link, and the file that it leads to is replaced.
    target = file.resolve()
    with atomic_write(target) as temporary:
        temporary.write_bytes(after.encode())
        if target.exists():
            shutil.copymode(target, temporary)
    changes = unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return [line for line in changes if not line.startswith(("---", "+++", "@@"))]


def _read(file: Path) -> str:
    if not file.exists():
        return ""
    try:
        # Bytes, since line ends must stay as they are.
        return file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise SetupError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SetupError(f"{file}: not a TOML file in UTF-8: {error}") from error


def _edited(file: Path, before: str, edits: Sequence[Edit]) -> str:
    wanted = parse_toml(before, str(file))
    after = ""
    try:
        document = tomlkit.parse(before)
        for edit in edits:
            _apply(wanted, edit, new_table=dict)
            _apply(document, edit, new_table=tomlkit.table)
        text = tomlkit.dumps(document).rstrip() + "\n"
        after = _with_line_ends_of(before, text)
        is_right = tomllib.loads(after) == wanted
    # The editor of TOML gives up on some mixtures of dotted keys and tables.
    except (TOMLKitError, AttributeError, ValueError, TypeError):
        is_right = False
    if not is_right:
        raise SetupError(
            f"{file}: its tables are written in a form that cannot be edited safely; "
            f"put these lines there yourself:\n{as_toml(edits)}"
        )
    return after


def _apply(document: MutableMapping[str, Any], edit: Edit, *, new_table: Any) -> None:
    node: MutableMapping[str, Any] = document
    for name in edit.table:
        if name not in node:
            node[name] = new_table()
        node = node[name]
    if edit.value is None:
        node.pop(edit.key, None)
        return
    old = node.get(edit.key)
    if isinstance(edit.value, Mapping) and isinstance(old, MutableMapping) and old:
        _merge(old, edit.value)
    else:
        is_plain = new_table is dict
        trailing = _cut_trailing_comments(node)
        node[edit.key] = _plain(edit.value) if is_plain else _item(edit.value)
        if isinstance(node, Table):
            node.value.body.extend(trailing)


def _cut_trailing_comments(node: object) -> list[Any]:
    """Take the comments and blank lines off the end of a table: they belong to what follows."""
    trailing: list[Any] = []
    if isinstance(node, Table):
        body = node.value.body
        while body and body[-1][0] is None:
            trailing.insert(0, body.pop())
    return trailing


def _merge(old: MutableMapping[str, Any], values: Mapping[str, Any]) -> None:
    """Set the keys of a table that stands there already, whatever its form."""
    for key, value in values.items():
        if old.get(key) != value:
            old[key] = _item(value) if isinstance(old, InlineTable) else value


def _plain(value: Any) -> Any:
    """Return a value as the parser of TOML would: lists, and tables of their own."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value


def _item(value: Any) -> Any:
    """Return a value as TOML on one line: tables are inline, which fit under any heading."""
    if isinstance(value, Mapping):
        table = tomlkit.inline_table()
        for key, inner in value.items():
            table[key] = _item(inner)
        return table
    if isinstance(value, (list, tuple)):
        return tomlkit.item([_item(inner) for inner in value])
    return tomlkit.item(value)


def _quoted(name: str) -> str:
    return tomlkit.key(name).as_string()


def _with_line_ends_of(before: str, text: str) -> str:
    if "\r\n" not in before:
        return text
    return text.replace("\r\n", "\n").replace("\n", "\r\n")
