"""The phrases of all roles, from `phrases/*.toml`.

A phrase has fields in braces, such as {topic}. A name is the path to a list of phrases:
`seeds.reading.decline` is the list `decline` in the table `[seeds.reading]`, whatever the file.
"""

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from aidsafe_dagster.engines.rehearsal.reading import split_sentences

_FOLDER = Path(__file__).parent / "phrases"


def phrases(name: str) -> tuple[str, ...]:
    """Return the phrases of a name.

    Raises:
        KeyError: there are none.
    """
    return _load()[name]


@cache
def openings(name: str) -> tuple[str, ...]:
    """Return what each phrase of a name, or of the names below it, begins with.

    An opening ends at the first field, and at the first sentence at the latest.
    """
    texts: list[str] = []
    for own_name, lines in _load().items():
        # With the dot, so that the name `misled.1` does not cover `misled.10`.
        if own_name != name and not own_name.startswith(f"{name}."):
            continue
        for line in lines:
            before_field = line.partition("{")[0]
            texts.append(split_sentences(before_field)[0])
    return tuple(texts)


def begins_with(text: str, name: str) -> bool:
    """Return True when a text begins with one of the phrases of a name, whatever its fields."""
    return text.startswith(openings(name))


@cache
def _load() -> Mapping[str, tuple[str, ...]]:
    names: dict[str, tuple[str, ...]] = {}
    for file in sorted(_FOLDER.glob("*.toml")):
        names.update(_flatten(tomllib.loads(file.read_text("utf-8"))))
    return names


def _flatten(
    table: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, tuple[str, ...]]]:
    for key, value in table.items():
        if isinstance(value, list):
            yield f"{prefix}{key}", tuple(value)
        else:
            yield from _flatten(value, f"{prefix}{key}.")
