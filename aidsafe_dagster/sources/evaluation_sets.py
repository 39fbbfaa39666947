"""Evaluation sets: prompts used to judge models, which must therefore not be trained on.

    [[decontamination.sets]]
    name = "xstest"
    preset = "xstest"                   # or path = "questions.csv", or hub = "<owner>/<dataset>"
    revision = "main"                   # resolved to a commit, which is recorded
    columns.prompt = "question"

A set that cannot be read stops the run: no row counts as clean because a check was skipped.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pydantic import Field

from aidsafe_dagster.recipe.errors import SetupError, unknown
from aidsafe_dagster.recipe.records import Record
from aidsafe_dagster.sources.bounds import InputBounds
from aidsafe_dagster.sources.compared_turns import compared_texts
from aidsafe_dagster.sources.files import read_file
from aidsafe_dagster.sources.hub_access import HubAccess
from aidsafe_dagster.sources.locate import LocatedFile, locate_files
from aidsafe_dagster.sources.rejection import Rejection
from aidsafe_dagster.sources.rows import FileRow, is_text
from aidsafe_dagster.sources.settings import EvaluationSetSpec
from aidsafe_dagster.sources.transcripts import parsed_list, read_transcript

_USUAL_COLUMNS = (
    "prompt",
    "question",
    "instruction",
    "forbidden_prompt",
    "behavior",
    "goal",
    "text",
)


@dataclass(frozen=True)
class EvaluationPrompt:
    set: str
    row: str
    """Position in the set: file and row."""
    text: str


@dataclass(frozen=True)
class EvaluationSet:
    name: str
    origin: str
    """File, or dataset on the Hub."""
    revision: str
    """Commit on the Hub; empty for a file."""
    prompts: tuple[EvaluationPrompt, ...]
    skipped: int
    """Rows without a prompt."""

    @property
    def version(self) -> str:
        """Hash of the prompts."""
        digest = hashlib.blake2b(digest_size=8)
        for prompt in self.prompts:
            # The separator keeps apart sets that differ only in where a prompt ends.
            digest.update(prompt.text.encode() + b"\0")
        return digest.hexdigest()


class CheckedSet(Record):
    """An evaluation set against which a stage of a batch was checked. Table `evaluation_sets`."""

    stage: str
    batch: str
    set: str
    origin: str = Field(description="file, or dataset on the Hub")
    revision: str = Field(description="commit on the Hub; empty for a file")
    prompts: int
    skipped: int = Field(description="rows without a prompt")
    content: str = Field(description="hash of the prompts")
    version: str = Field(description="of all sets and thresholds then in force")


def read_evaluation_sets(
    specs: Iterable[EvaluationSetSpec],
    access: HubAccess | None = None,
    bounds: InputBounds | None = None,
) -> tuple[EvaluationSet, ...]:
    """Read all sets.

    Raises:
        SetupError: a set cannot be read or holds no prompt; names the set.
    """
    hub = access or HubAccess()
    return tuple(_read_set(spec, hub, bounds or InputBounds()) for spec in specs)


def _read_set(
    spec: EvaluationSetSpec, access: HubAccess, bounds: InputBounds
) -> EvaluationSet:
    located = locate_files(spec, access)
    rows = list[EvaluationPrompt | None]()
    for file in located.files:
        rows += _read_prompts(spec, file, bounds)
    # The limit was applied to each file, and holds for the set as a whole.
    rows = rows[: spec.limit]
    prompts = tuple(prompt for prompt in rows if prompt is not None)
    # An empty set would find every row clean.
    if not prompts:
        raise SetupError(
            f"{spec}: none of its {len(rows)} rows holds a prompt; set columns.prompt"
        )
    return EvaluationSet(
        name=spec.name,
        origin=spec.dataset or located.files[0].place,
        revision=located.revision or "",
        prompts=prompts,
        skipped=len(rows) - len(prompts),
    )


def _read_prompts(
    spec: EvaluationSetSpec, file: LocatedFile, bounds: InputBounds
) -> Iterator[EvaluationPrompt | None]:
    """Yield the prompt of each row of a file; None for a row without one."""

    def needed(columns: Sequence[str]) -> tuple[str]:
        return (_prompt_column(spec, columns, file.place),)

    try:
        table = read_file(file.path, spec.limit, bounds, spec.form, needed)
    except SetupError as error:
        message = str(error)
        # A missing column is told with the set's name already.
        if not message.startswith(f"{spec}: "):
            message = f"{spec}: {message}"
        raise SetupError(message) from error
    column = _prompt_column(spec, table.columns, file.place)
    for row in table.rows:
        texts = _prompt_texts(row, column)
        place = f"{file.place} row {row.number}"
        for text in texts:
            yield EvaluationPrompt(spec.name, place, text)
        if not texts:
            yield None


def _prompt_column(spec: EvaluationSetSpec, columns: Sequence[str], place: str) -> str:
    mapped = spec.columns.prompt
    if mapped:
        if mapped not in columns:
            raise unknown("column", mapped, columns, f"{spec}: {place}")
        return mapped
    if spec.shape and spec.shape.prompt in columns:
        return spec.shape.prompt
    # Reversed, so that the first of two columns that differ in case alone is used.
    by_lower_case = {column.lower(): column for column in reversed(columns)}
    for name in _USUAL_COLUMNS:
        if name in by_lower_case:
            return by_lower_case[name]
    raise unknown(
        "column", _USUAL_COLUMNS[0], columns, f"{spec}: {place}: set columns.prompt"
    )


def _prompt_texts(row: FileRow, column: str) -> list[str]:
    """Return the prompt of a row; of a conversation, all that it is compared by; or nothing."""
    if isinstance(row.content, Rejection):
        return []
    value = row.content.get(column)
    if isinstance(value, str) and not is_text(value):
        return []
    cell = parsed_list(value) if isinstance(value, str) else value
    transcript = read_transcript(cell, "conversation")
    if transcript is not None:
        texts = compared_texts(transcript.turns) if transcript.text.strip() else []
        return list(filter(is_text, texts))
    if isinstance(value, str) and value.strip():
        return [value]
    return []
