"""Rows to prompts: which column holds what, and whether a row's prompt can be used.

Columns are settled once per file, so that a wrong name is a mistake of the set-up; values are judged row by row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aidsafe_dagster.recipe.errors import SetupError, unknown
from aidsafe_dagster.sources.files import is_text
from aidsafe_dagster.sources.rejection import DropReason, Rejection
from aidsafe_dagster.sources.source import SourceSpec

_OBVIOUS_PROMPTS = ("instruction", "question", "text")
_LICENCES = ("licence", "license")


@dataclass(frozen=True)
class Columns:
    """Columns of one file. None: there is no such column."""

    prompt: str
    input: str | None
    """Alpaca's second half of the prompt."""
    category: str | None
    licence: str | None
    default_licence: str | None
    """Licence of a row that names none."""


@dataclass(frozen=True)
class RowContent:
    prompt: str
    category: str
    licence: str


def settle_columns(spec: SourceSpec, columns: Sequence[str], place: str) -> Columns:
    """Decides which columns are read: those mapped, else those of the preset, else the usual names.

    Raises:
        SetupError: a mapped column is not there, the prompt column is unclear, or nothing tells the licence.
    """
    mapped, shape = spec.columns, spec.shape
    for column in (mapped.prompt, mapped.category, mapped.licence):
        if column is not None and column not in columns:
            raise unknown("column", column, columns, place)
    prompt = mapped.prompt or _prompt_column(shape.prompt if shape else "prompt", columns, place)
    category = mapped.category or (shape.category if shape else None) or "category"
    default_licence = spec.licence or (shape.licence if shape else None)
    licence = mapped.licence or (None if default_licence else _first_present(_LICENCES, columns))
    if not licence and not default_licence:
        raise SetupError(
            f"{place}: no licence. Set the source's 'licence' (an SPDX id), or map a licence column"
        )
    return Columns(
        prompt=prompt,
        input="input" if prompt == "instruction" and "input" in columns else None,
        category=category if category in columns else None,
        licence=licence,
        default_licence=default_licence,
    )


def _prompt_column(usual: str, columns: Sequence[str], place: str) -> str:
    if usual in columns:
        return usual
    obvious = [column for column in _OBVIOUS_PROMPTS if column in columns]
    if len(obvious) > 1:
        raise SetupError(
            f"{place}: unclear which column is the prompt: {', '.join(obvious)}. Set columns.prompt"
        )
    if not obvious:
        raise unknown("column", usual, columns, f"{place}: set columns.prompt")
    return obvious[0]


def _first_present(names: Sequence[str], columns: Sequence[str]) -> str | None:
    return next((name for name in names if name in columns), None)


def read_row(
    columns: Columns, row: Mapping[str, Any], max_prompt_chars: int
) -> RowContent | Rejection:
    """The prompt of a row, unchanged, with its category and licence; or why it cannot be used."""
    prompt = row.get(columns.prompt)
    if prompt is None or (isinstance(prompt, str) and not prompt.strip()):
        return Rejection(
            DropReason.NO_PROMPT,
            f"'{columns.prompt}' is {'missing' if prompt is None else 'blank'}",
        )
    if not isinstance(prompt, str):
        return Rejection(
            DropReason.NOT_TEXT, f"'{columns.prompt}' is not text but {type(prompt).__name__}"
        )
    addition = row.get(columns.input) if columns.input else None
    if isinstance(addition, str) and addition.strip():
        prompt = f"{prompt}\n\n{addition}"
    if len(prompt) > max_prompt_chars:
        return Rejection(
            DropReason.TOO_LONG, f"{len(prompt):,} characters, at most {max_prompt_chars:,}"
        )
    category = _category(row.get(columns.category)) if columns.category else ""
    licence = (
        str((row.get(columns.licence) if columns.licence else None) or "").strip()
        or columns.default_licence
    )
    if not licence:
        return Rejection(DropReason.NO_LICENCE, f"'{columns.licence}' is empty")
    if not all(map(is_text, (prompt, category, licence))):
        return Rejection(
            DropReason.NOT_TEXT,
            "not valid Unicode text: it holds a lone surrogate or bytes not in UTF-8",
        )
    return RowContent(prompt, category, licence)


def _category(value: object) -> str:
    """Text as it is; a list of names, or the true ones of a mapping of flags, joined by ';'."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        value = [name for name, flag in value.items() if flag is True]
    return ";".join(map(str, value)) if isinstance(value, list) else str(value).strip()
