"""Turn rows into prompts: find the columns of a file, and check the values of each row.

Columns are resolved once per file, because a wrong column name is a mistake in the setup. Values
are checked row by row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aidsafe_dagster.recipe.errors import SetupError, unknown
from aidsafe_dagster.sources.files import is_text
from aidsafe_dagster.sources.rejection import DropReason, Rejection
from aidsafe_dagster.sources.source import SourceSpec

_USUAL_PROMPT_COLUMNS = ("instruction", "question", "text")
_LICENCE_COLUMNS = ("licence", "license")


@dataclass(frozen=True)
class SourceColumns:
    """The columns of one file. None: there is no such column."""

    prompt: str
    input: str | None
    """Second half of the prompt, in Alpaca's format."""
    category: str | None
    licence: str | None
    default_licence: str | None
    """Licence of a row without one."""


@dataclass(frozen=True)
class RowContent:
    prompt: str
    category: str
    licence: str


def resolve_columns(
    spec: SourceSpec, columns: Sequence[str], place: str
) -> SourceColumns:
    """Decide which columns to read: the mapped ones, else the preset's, else the usual names.

    Raises:
        SetupError: a mapped column is missing, the prompt column is ambiguous, or no licence is
            known.
    """
    mapped, preset = spec.columns, spec.shape
    for column in (mapped.prompt, mapped.category, mapped.licence):
        if column is not None and column not in columns:
            raise unknown("column", column, columns, place)
    default_prompt = "prompt"
    default_category = "category"
    default_licence = spec.licence
    # A preset comes after what the source sets, and before the usual names.
    if preset:
        default_prompt = preset.prompt
        default_category = preset.category or default_category
        default_licence = default_licence or preset.licence
    prompt = mapped.prompt or _prompt_column(default_prompt, columns, place)
    category = mapped.category or default_category
    licence = mapped.licence
    if not licence and not default_licence:
        licence = next((name for name in _LICENCE_COLUMNS if name in columns), None)
        # A release needs the licence of every row, and nobody can tell it later.
        if not licence:
            raise SetupError(
                f"{place}: no licence. "
                "Set the source's 'licence' (an SPDX id), or map a licence column"
            )
    # Beside any other prompt column, `input` is not Alpaca's.
    has_alpaca_input = prompt == "instruction" and "input" in columns
    return SourceColumns(
        prompt=prompt,
        input="input" if has_alpaca_input else None,
        category=category if category in columns else None,
        licence=licence,
        default_licence=default_licence,
    )


def read_row(
    columns: SourceColumns, row: Mapping[str, Any], max_prompt_chars: int
) -> RowContent | Rejection:
    """Return the prompt of a row, unchanged, with category and licence; or why it is unusable."""
    prompt = _prompt_text(columns, row)
    if isinstance(prompt, Rejection):
        return prompt
    if len(prompt) > max_prompt_chars:
        detail = f"{len(prompt):,} characters, at most {max_prompt_chars:,}"
        return Rejection(DropReason.TOO_LONG, detail)
    category = ""
    if columns.category:
        category = _category_text(row.get(columns.category))
    licence = _licence(columns, row)
    if not licence:
        return Rejection(DropReason.NO_LICENCE, f"'{columns.licence}' is empty")
    if not all(map(is_text, (prompt, category, licence))):
        return Rejection(
            DropReason.NOT_TEXT,
            "not valid Unicode text: it holds a lone surrogate or bytes not in UTF-8",
        )
    return RowContent(prompt, category, licence)


def _prompt_text(columns: SourceColumns, row: Mapping[str, Any]) -> str | Rejection:
    prompt = row.get(columns.prompt)
    if prompt is None:
        return Rejection(DropReason.NO_PROMPT, f"'{columns.prompt}' is missing")
    if not isinstance(prompt, str):
        detail = f"'{columns.prompt}' is not text but {type(prompt).__name__}"
        return Rejection(DropReason.NOT_TEXT, detail)
    if not prompt.strip():
        return Rejection(DropReason.NO_PROMPT, f"'{columns.prompt}' is blank")
    if columns.input is None:
        return prompt
    addition = row.get(columns.input)
    if isinstance(addition, str) and addition.strip():
        return f"{prompt}\n\n{addition}"
    return prompt


def _prompt_column(default: str, columns: Sequence[str], place: str) -> str:
    if default in columns:
        return default
    usual = [column for column in _USUAL_PROMPT_COLUMNS if column in columns]
    # A wrong guess would fill the lake with texts that are no prompts.
    if len(usual) > 1:
        raise SetupError(
            f"{place}: unclear which column is the prompt: {', '.join(usual)}. Set columns.prompt"
        )
    if not usual:
        raise unknown("column", default, columns, f"{place}: set columns.prompt")
    return usual[0]


def _licence(columns: SourceColumns, row: Mapping[str, Any]) -> str | None:
    licence = ""
    if columns.licence:
        value = row.get(columns.licence)
        licence = str(value or "").strip()
    # A row without a licence of its own falls under that of the source.
    return licence or columns.default_licence


def _category_text(value: object) -> str:
    """Return a text as it is; join a list, or the true names of a mapping of flags, with ';'."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        value = [name for name, flag in value.items() if flag is True]
    if isinstance(value, list):
        return ";".join(map(str, value))
    return str(value).strip()
