"""Evaluation sets: prompts that a model trained on this data will be judged by, so none of them may be trained on.

    [[decontamination.sets]]
    name = "xstest"
    preset = "xstest"                   # or path = "questions.csv", or hub = "<owner>/<dataset>"
    revision = "main"                   # the commit it stands for is recorded
    columns.prompt = "question"

A set that cannot be read stops the run: a row is never taken for clean because nobody looked.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pydantic import Field

from aidsafe_dagster.recipe.errors import SetupError, unknown
from aidsafe_dagster.recipe.records import Record
from aidsafe_dagster.sources.files import FileRow, is_text, read_file
from aidsafe_dagster.sources.hub import HubAccess
from aidsafe_dagster.sources.locate import LocatedFile, locate
from aidsafe_dagster.sources.rejection import Rejection
from aidsafe_dagster.sources.settings import EvaluationSetSpec

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
    """Place in the set: file and row."""
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
        """Hash of its prompts."""
        digest = hashlib.blake2b(digest_size=8)
        for prompt in self.prompts:
            digest.update(prompt.text.encode() + b"\0")
        return digest.hexdigest()


class CheckedSet(Record):
    """An evaluation set that a stage of a batch was checked against. Table `evaluation_sets`."""

    stage: str
    batch: str
    set: str
    origin: str = Field(description="file, or dataset on the Hub")
    revision: str = Field(description="commit on the Hub; empty for a file")
    prompts: int
    skipped: int = Field(description="rows without a prompt")
    content: str = Field(description="hash of its prompts")
    version: str = Field(description="of all sets and thresholds then in force")


def read_evaluation_sets(
    specs: Iterable[EvaluationSetSpec], access: HubAccess | None = None
) -> tuple[EvaluationSet, ...]:
    """All sets, whole.

    Raises:
        SetupError: one cannot be read, or holds no prompt; names it.
    """
    return tuple(_read(spec, access or HubAccess()) for spec in specs)


def _read(spec: EvaluationSetSpec, access: HubAccess) -> EvaluationSet:
    located = locate(spec, access)
    found = [prompt for file in located.files for prompt in _prompts(spec, file)][: spec.limit]
    prompts = tuple(prompt for prompt in found if prompt is not None)
    if not prompts:
        raise SetupError(
            f"{spec}: none of its {len(found)} rows holds a prompt; set columns.prompt"
        )
    return EvaluationSet(
        name=spec.name,
        origin=spec.dataset or located.files[0].place,
        revision=located.revision or "",
        prompts=prompts,
        skipped=len(found) - len(prompts),
    )


def _prompts(spec: EvaluationSetSpec, file: LocatedFile) -> Iterator[EvaluationPrompt | None]:
    """The prompt of each row of a file; None where a row has none."""
    try:
        table = read_file(file.path, spec.limit)
    except SetupError as error:
        raise SetupError(f"{spec}: {error}") from error
    column = _column(spec, table.columns, file.place)
    for row in table.rows:
        text = _text(row, column)
        yield EvaluationPrompt(spec.name, f"{file.place} row {row.number}", text) if text else None


def _column(spec: EvaluationSetSpec, columns: Sequence[str], place: str) -> str:
    if mapped := spec.columns.prompt:
        if mapped not in columns:
            raise unknown("column", mapped, columns, f"{spec}: {place}")
        return mapped
    if spec.shape and spec.shape.prompt in columns:
        return spec.shape.prompt
    by_name = {column.lower(): column for column in reversed(columns)}
    usual = next((by_name[name] for name in _USUAL_COLUMNS if name in by_name), None)
    if usual is None:
        raise unknown("column", _USUAL_COLUMNS[0], columns, f"{spec}: {place}: set columns.prompt")
    return usual


def _text(row: FileRow, column: str) -> str | None:
    value = None if isinstance(row.content, Rejection) else row.content.get(column)
    return value if isinstance(value, str) and value.strip() and is_text(value) else None
