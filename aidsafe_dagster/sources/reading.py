"""Read one source: its files, the rows that can become prompts, and what to say of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import Field

from aidsafe_dagster.recipe.chat_tokens import first_chat_token
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Prompt, Record
from aidsafe_dagster.sources.columns import (
    RowContent,
    SourceColumns,
    read_row,
    resolve_columns,
)
from aidsafe_dagster.sources.duplicates import prompt_id
from aidsafe_dagster.sources.encodings import GUESSED
from aidsafe_dagster.sources.files import read_file
from aidsafe_dagster.sources.locate import LocatedFile
from aidsafe_dagster.sources.rejection import DroppedPrompt, DropReason, Rejection
from aidsafe_dagster.sources.remarks import (
    encoding_remarks,
    id_remarks,
    response_remarks,
    token_remarks,
    transcript_remarks,
)
from aidsafe_dagster.sources.rows import FileRow, FileRows, NotRows
from aidsafe_dagster.sources.settings import IngestSettings
from aidsafe_dagster.sources.source import SourceSpec

_WRONG_COLUMN = {DropReason.NO_PROMPT, DropReason.NOT_TEXT, DropReason.NOT_AN_OBJECT}
"""Reasons for which another column, or file, may be meant."""


class ReadFile(Record):
    """One file of a source, and how it was read."""

    source: str
    file: str
    rows: int
    prompts: str = Field(description="column that holds the prompts")
    form: str = Field(description="encoding and separator where they are not the usual")


@dataclass
class SourceRows:
    """Every row of a source in order: a prompt without a batch, or a dropped row."""

    rows: list[Prompt | DroppedPrompt] = field(default_factory=list)
    files: list[ReadFile] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def read_source(
    spec: SourceSpec, files: Sequence[LocatedFile], settings: IngestSettings
) -> SourceRows:
    """Read the rows of a source, up to its limit.

    Raises:
        SetupError: a file cannot be read, lacks a column, or no row at all has a prompt.
    """
    source = SourceRows()
    contents = list[RowContent]()
    remaining = spec.limit
    left_out = list[str]()
    for file in files:
        # Reading no row of a further file would look like an empty file, which is an error.
        if remaining == 0:
            break
        try:
            table, columns = _read_table(spec, file, remaining, settings)
        except NotRows as error:
            # Folders hold files of settings beside the data. One that was asked for is no such.
            if len(files) == 1 or spec.glob:
                raise
            # The path of a download says nothing to a reader.
            left_out.append(str(error).replace(str(file.path), file.place))
            continue
        if remaining is not None:
            remaining -= len(table.rows)
        source.files.append(_describe(spec, file, table, columns))
        for row in table.rows:
            content = _read_content(row, columns, settings)
            if isinstance(content, RowContent):
                contents.append(content)
            source_row = f"{file.place} row {row.number}"
            source.rows.append(_to_prompt(spec.name, source_row, content))
    _require_prompts(spec, source, left_out)
    source.remarks += transcript_remarks(contents, spec.turn)
    guessed = [row for row in source.files if row.form.startswith(GUESSED)]
    if guessed and spec.encoding is None:
        source.remarks += encoding_remarks(contents, GUESSED)
    source.remarks += token_remarks(contents)
    prompts = [row for row in source.rows if isinstance(row, Prompt)]
    source.remarks += id_remarks(prompts, spec.columns.id)
    source.remarks += response_remarks(prompts, spec.columns.response)
    source.remarks += [f"left out {error}" for error in left_out]
    return source


def _read_table(
    spec: SourceSpec, file: LocatedFile, limit: int | None, settings: IngestSettings
) -> tuple[FileRows, SourceColumns | None]:
    place = str(spec.path or file.place)
    if file.is_one_of_many:
        place = file.place

    def needed(columns: Sequence[str]) -> tuple[str, ...]:
        return resolve_columns(spec, columns, place).read

    table = read_file(file.path, limit, settings, spec.form, needed)
    # A file whose rows are all unreadable has no columns. Its rows say what is wrong.
    if not table.columns:
        return table, None
    return table, resolve_columns(spec, table.columns, place)


def _describe(
    spec: SourceSpec, file: LocatedFile, table: FileRows, columns: SourceColumns | None
) -> ReadFile:
    return ReadFile(
        source=spec.name,
        file=file.place,
        rows=len(table.rows),
        prompts=columns.prompt if columns else "",
        form=table.form,
    )


def _read_content(
    row: FileRow, columns: SourceColumns | None, settings: IngestSettings
) -> RowContent | Rejection:
    if isinstance(row.content, Rejection):
        return row.content
    if columns is None:
        return Rejection(DropReason.NO_PROMPT, "the object is empty")
    content = read_row(columns, row.content, settings.max_prompt_chars)
    if settings.reject_chat_tokens and isinstance(content, RowContent):
        token = first_chat_token(content.whole)
        if token:
            detail = f"it holds {token} (ingest.reject_chat_tokens)"
            return Rejection(DropReason.CHAT_TOKENS, detail)
    return content


def _to_prompt(
    source: str, source_row: str, content: RowContent | Rejection
) -> Prompt | DroppedPrompt:
    if isinstance(content, Rejection):
        return DroppedPrompt(
            source=source,
            source_row=source_row,
            reason=content.reason,
            detail=content.detail,
        )
    return Prompt(
        prompt_id=prompt_id(content.whole),
        # Batches are cut once the duplicates are known.
        batch="",
        source=source,
        source_row=source_row,
        category=content.category,
        licence=content.licence,
        own_id=content.own_id,
        prompt=content.prompt,
        earlier=content.earlier,
        original_response=content.response,
        derivation=content.derivation,
    )


def _require_prompts(
    spec: SourceSpec, source: SourceRows, left_out: Sequence[str]
) -> None:
    """Raise unless some row is a prompt: the column must be the wrong one."""
    place = f"{spec}: {spec.path or spec.dataset}"
    if not source.files and left_out:
        listing = "\n".join(f"  {error}" for error in left_out)
        raise SetupError(f"{place}: none of its files has prompts\n{listing}")
    if not source.rows or any(isinstance(row, Prompt) for row in source.rows):
        return
    dropped = [row for row in source.rows if isinstance(row, DroppedPrompt)]
    read = "1 row" if len(dropped) == 1 else f"{len(dropped):,} rows"
    lines = [f"{place}: no prompt in {read}"]
    counts = Counter(row.reason for row in dropped)
    for reason, count in counts.most_common():
        example = next(row for row in dropped if row.reason == reason)
        lines.append(f"  {count:,} {reason}: {example.detail} ({example.source_row})")
    if counts.keys() & _WRONG_COLUMN:
        lines.append(
            "Choose the column that holds the prompts: --prompt-column, or columns.prompt"
        )
    raise SetupError("\n".join(lines))
