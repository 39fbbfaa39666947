"""Turn rows into prompts: find the columns of a file, and check the values of each row.

Columns are resolved once per file, because a wrong column name is a mistake in the setup. Values
are checked row by row.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aidsafe_dagster.recipe.errors import SetupError, unknown
from aidsafe_dagster.recipe.records import Derivation, Message, as_text
from aidsafe_dagster.sources.derivations import DERIVATION_COLUMN, read_derivation
from aidsafe_dagster.sources.rejection import DropReason, Rejection
from aidsafe_dagster.sources.rows import NotRows, is_text
from aidsafe_dagster.sources.source import SourceSpec
from aidsafe_dagster.sources.transcripts import (
    Transcript,
    WhichTurn,
    last_answer,
    parsed_list,
    read_transcript,
)
from aidsafe_dagster.sources.visibility import is_visible, name_characters

_USUAL_PROMPT_COLUMNS = ("instruction", "question", "text")
_TRANSCRIPT_COLUMNS = (
    "messages",
    "conversations",
    "conversation",
    "transcript",
    "chosen",
)
"""Taken where no column holds prompts. `chosen` is one of two answers to a prompt."""
_RESPONSE_COLUMNS = ("response", "output", "completion", "chosen")
"""Taken for the source's own answer, where no other column is named. `chosen` is the better one of
two."""
_LICENCE_COLUMNS = ("licence", "license")
_JOINED = re.compile(r"(?<=\w)[^\w\s.-](?=\w)")
"""A sign within a name, as between names that were not told apart."""
_LONGEST_ID = 256
_LONGEST_COLUMN_NAME = 40


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
    id: str | None = None
    turn: WhichTurn = "conversation"
    """What is taken of a transcript."""
    path: tuple[str, ...] = ()
    """Keys that lead to the prompt in nested objects; empty: the column alone."""
    maps_response: bool = False
    """The column of answers was named, and goes before the answer in a transcript."""
    response: tuple[str, ...] = ()
    """Column of the source's own answer, and keys in nested objects; empty: there is none."""
    derivation: str | None = None
    """How a prompt was made from another one."""

    @property
    def read(self) -> tuple[str, ...]:
        """The columns whose values are needed."""
        prompt = self.path[0] if self.path else self.prompt
        response = self.response[0] if self.response else None
        names = (
            prompt,
            self.input,
            self.category,
            self.licence,
            self.id,
            response,
            self.derivation,
        )
        return tuple(name for name in names if name)


@dataclass(frozen=True)
class RowContent:
    prompt: str
    category: str
    licence: str
    own_id: str = ""
    transcript: Transcript | None = None
    """The transcript that the prompt was taken from."""
    response: str = ""
    """The source's own answer."""
    derivation: Derivation | None = None

    @property
    def earlier(self) -> tuple[Message, ...]:
        """The turns before the prompt."""
        return self.transcript.earlier if self.transcript else ()

    @property
    def whole(self) -> str:
        """The prompt with the turns before it, as one text."""
        return as_text((*self.earlier, Message(role="user", content=self.prompt)))


def resolve_columns(
    spec: SourceSpec, columns: Sequence[str], place: str
) -> SourceColumns:
    """Decide which columns to read: the mapped ones, else the preset's, else the usual names.

    Raises:
        NotRows: a mapped column is missing, or none holds prompts.
        SetupError: the prompt column is ambiguous, or no licence is known.
    """
    mapped, preset = spec.columns, spec.shape
    path = _nested_path(mapped.prompt, columns)
    for column in (mapped.category, mapped.licence, mapped.id):
        _require(column, columns, place)
    if not path:
        _require(mapped.prompt, columns, place)
    response_path = _nested_path(mapped.response, columns)
    if not response_path:
        _require(mapped.response, columns, place)
    default_prompt = "prompt"
    default_category = "category"
    default_licence = spec.licence
    usual_responses: tuple[str, ...] = _RESPONSE_COLUMNS
    # A preset comes after what the source sets, and before the usual names.
    if preset:
        default_prompt = preset.prompt
        default_category = preset.category or default_category
        default_licence = default_licence or preset.licence
        if preset.response:
            usual_responses = (preset.response, *_RESPONSE_COLUMNS)
    prompt = mapped.prompt or _prompt_column(default_prompt, columns, place)
    category = mapped.category or default_category
    licence = mapped.licence
    if not licence and not default_licence:
        licence = next((name for name in _LICENCE_COLUMNS if name in columns), None)
        # A release needs the licence of every row, and nobody can tell it later.
        if not licence:
            raise SetupError(
                f"{place}: no licence. Set the source's 'licence' (--licence, an SPDX id), "
                "or map a licence column (--licence-column)"
            )
    # Beside any other prompt column, `input` is not Alpaca's.
    has_alpaca_input = prompt == "instruction" and "input" in columns
    return SourceColumns(
        prompt=prompt,
        input="input" if has_alpaca_input else None,
        category=category if category in columns else None,
        licence=licence,
        default_licence=default_licence,
        id=mapped.id,
        turn=spec.turn,
        path=path,
        maps_response=mapped.response is not None,
        response=response_path
        or _response_column(mapped.response, usual_responses, columns, prompt),
        derivation=DERIVATION_COLUMN if DERIVATION_COLUMN in columns else None,
    )


def read_row(
    columns: SourceColumns, row: Mapping[str, Any], max_prompt_chars: int
) -> RowContent | Rejection:
    """Return the prompt of a row, unchanged, with category and licence; or why it is unusable."""
    value = _prompt_value(columns, row)
    transcript = read_transcript(value, columns.turn)
    prompt = _prompt_text(columns, row, value, transcript)
    if isinstance(prompt, Rejection):
        return prompt
    category = ""
    if columns.category:
        category = _category_text(row.get(columns.category))
    licence = _licence(columns, row)
    if not licence:
        return Rejection(DropReason.NO_LICENCE, f"'{columns.licence}' is empty")
    own_id = _own_id(columns, row)
    if isinstance(own_id, Rejection):
        return own_id
    derivation = read_derivation(
        row.get(columns.derivation) if columns.derivation else None
    )
    if isinstance(derivation, Rejection):
        return derivation
    response = _response_text(columns, row, transcript)
    content = RowContent(
        prompt, category, licence, own_id, transcript, response, derivation
    )
    return _unusable(columns, content, max_prompt_chars) or content


def _unusable(
    columns: SourceColumns, content: RowContent, max_prompt_chars: int
) -> Rejection | None:
    prompt = content.prompt
    length = len(content.whole)
    if length > max_prompt_chars:
        detail = (
            f"{length:,} characters, at most {max_prompt_chars:,} "
            "(ingest.max_prompt_chars)"
        )
        return Rejection(DropReason.TOO_LONG, detail)
    if not all(
        map(is_text, (content.whole, content.category, content.licence, content.own_id))
    ):
        return Rejection(
            DropReason.NOT_TEXT,
            "not valid Unicode text: it holds a lone surrogate or bytes not in UTF-8",
        )
    if not is_visible(prompt):
        detail = f"'{columns.prompt}' has no visible character"
        named = name_characters(prompt)
        return Rejection(DropReason.NO_PROMPT, f"{detail}, only {named}")
    return None


def _prompt_value(columns: SourceColumns, row: Mapping[str, Any]) -> Any:
    value = _value_at(columns.path or (columns.prompt,), row)
    # A cell of a CSV file holds a transcript as JSON.
    if isinstance(value, str) and columns.prompt.lower() in _TRANSCRIPT_COLUMNS:
        return parsed_list(value)
    return value


def _value_at(path: Sequence[str], row: Mapping[str, Any]) -> Any:
    """Return the value that keys lead to; None without keys, or if a key is missing."""
    value: Any = row if path else None
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _prompt_text(
    columns: SourceColumns,
    row: Mapping[str, Any],
    value: object,
    transcript: Transcript | None,
) -> str | Rejection:
    name = columns.prompt
    if value is None:
        return Rejection(DropReason.NO_PROMPT, f"'{name}' is missing")
    if transcript is not None:
        return _last_turn(transcript, name)
    if not isinstance(value, str):
        detail = f"'{name}' is neither text nor a transcript but {_kind(value)}"
        if isinstance(value, Mapping) and value:
            detail += f"; name one of them: '{name}.{next(iter(value))}'"
        return Rejection(DropReason.NOT_TEXT, detail)
    if not value.strip():
        return Rejection(DropReason.NO_PROMPT, f"'{name}' is blank")
    return _with_input(columns, row, value)


def _last_turn(transcript: Transcript, name: str) -> str | Rejection:
    if not transcript.text.strip():
        return Rejection(DropReason.NO_PROMPT, f"'{name}' has no turn of the user")
    if transcript.other_speaker:
        detail = f"'{name}' has a turn of '{transcript.other_speaker}'"
        return Rejection(DropReason.OTHER_SPEAKER, detail)
    return transcript.text


def _response_column(
    mapped: str | None, usual: Sequence[str], columns: Sequence[str], prompt: str
) -> tuple[str, ...]:
    if mapped:
        return (mapped,)
    for name in usual:
        if name in columns and name != prompt:
            return (name,)
    return ()


def _response_text(
    columns: SourceColumns, row: Mapping[str, Any], transcript: Transcript | None
) -> str:
    """Return the source's own answer to the prompt; empty if it has none that is text.

    A prompt without an answer is a prompt all the same, so nothing here rejects a row.
    """
    value = _value_at(columns.response, row)
    text = last_answer(parsed_list(value) if isinstance(value, str) else value)
    if text is None:
        text = value if isinstance(value, str) else ""
    # Whatever a column holds, it is no answer to a turn that the transcript goes on from.
    is_answered = transcript is not None and not transcript.is_last
    if is_answered and not columns.maps_response:
        text = transcript.answer if transcript else ""
    if not is_text(text) or not is_visible(text):
        return ""
    return text


def _with_input(columns: SourceColumns, row: Mapping[str, Any], prompt: str) -> str:
    addition = row.get(columns.input) if columns.input else None
    if isinstance(addition, str) and addition.strip():
        return f"{prompt}\n\n{addition}"
    return prompt


def _kind(value: object) -> str:
    if isinstance(value, Mapping):
        keys = ", ".join(map(str, list(value)[:5]))
        return f"an object with the keys {keys}"
    if isinstance(value, list):
        first = f" of {_kind(value[0])}" if value else ""
        return f"a list{first}"
    kinds = {"str": "text", "int": "a number", "float": "a number", "bool": "a boolean"}
    name = type(value).__name__
    return kinds.get(name, name)


def _nested_path(name: str | None, columns: Sequence[str]) -> tuple[str, ...]:
    """Return the keys of a name such as `body.messages`, if there is a column `body`."""
    if not name or name in columns:
        return ()
    keys = tuple(name.split("."))
    return keys if len(keys) > 1 and keys[0] in columns else ()


def _require(column: str | None, columns: Sequence[str], place: str) -> None:
    if column is not None and column not in columns:
        raise _no_column(column, columns, place)


def _prompt_column(default: str, columns: Sequence[str], place: str) -> str:
    # A spreadsheet's `Prompt` is the prompt. Of two that differ in case alone, the exact one is.
    by_lower_case = {column.lower(): column for column in reversed(columns)}
    by_lower_case |= {column: column for column in columns}
    if default in by_lower_case:
        return by_lower_case[default]
    for names in (_USUAL_PROMPT_COLUMNS, _TRANSCRIPT_COLUMNS):
        usual = [by_lower_case[name] for name in names if name in by_lower_case]
        # A wrong guess would fill the lake with texts that are no prompts.
        if len(usual) > 1:
            raise SetupError(
                f"{place}: unclear which column is the prompt: {', '.join(usual)}. "
                "Set columns.prompt (--prompt-column)"
            )
        if usual:
            return usual[0]
    raise _no_column(default, columns, place, ". Set columns.prompt (--prompt-column)")


def _no_column(
    name: str, columns: Sequence[str], place: str, advice: str = ""
) -> NotRows:
    joined = _JOINED.search(columns[0]) if len(columns) == 1 else None
    if joined:
        return NotRows(
            f"{place}: unknown column '{name}'. The file has one column, '{columns[0]}'. "
            f"If {joined.group()!r} separates its fields, say so: --delimiter"
        )
    message = str(unknown("column", name, columns, place)) + advice
    if any(_is_no_name(column) for column in columns):
        message += ". The first line must hold the names of the columns"
    return NotRows(message)


def _is_no_name(column: str) -> bool:
    return len(column) > _LONGEST_COLUMN_NAME or column.endswith(("?", ".", "!"))


def _licence(columns: SourceColumns, row: Mapping[str, Any]) -> str | None:
    licence = ""
    if columns.licence:
        value = row.get(columns.licence)
        licence = str(value or "").strip()
    # A row without a licence of its own falls under that of the source.
    return licence or columns.default_licence


def _own_id(columns: SourceColumns, row: Mapping[str, Any]) -> str | Rejection:
    value = row.get(columns.id) if columns.id else None
    if value is None:
        return ""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        detail = f"'{columns.id}' is no id but {_kind(value)}"
        return Rejection(DropReason.NOT_TEXT, detail)
    # Data frames turn whole numbers into fractions where one is missing.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip()
    if len(text) > _LONGEST_ID:
        detail = f"'{columns.id}' has {len(text):,} characters, at most {_LONGEST_ID}"
        return Rejection(DropReason.TOO_LONG, detail)
    return "" if text == "nan" else text


def _category_text(value: object) -> str:
    """Return a text as it is; join a list, or the true names of a mapping of flags, with ';'."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        value = [name for name, flag in value.items() if flag is True]
    if isinstance(value, list):
        return ";".join(map(str, value))
    return str(value).strip()
