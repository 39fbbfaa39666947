"""Ingestion: sources in, batches of new prompts out, and an account of every row that was dropped.

It only ever adds. What was ingested earlier is known by its prompts and skipped, so the same sources can be ingested
every night; batches that exist never change, and new prompts always make new ones.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Prompt, Record
from aidsafe_dagster.sources.columns import Columns, RowContent, read_row, settle_columns
from aidsafe_dagster.sources.duplicates import Duplicate, DuplicateIndex, prompt_id
from aidsafe_dagster.sources.files import FileRow, read_file
from aidsafe_dagster.sources.hub import HubAccess, download
from aidsafe_dagster.sources.rejection import DropReason, Rejection
from aidsafe_dagster.sources.source import SourceSpec


class IngestSettings(Record):
    batch_size: int = Field(default=250, ge=1, description="prompts of a batch at most")
    near_duplicate_threshold: float = Field(
        default=0.8, ge=0.1, le=1.0, description="Jaccard similarity of word 3-shingles that counts as near duplicate"
    )
    max_prompt_chars: int = Field(default=20_000, ge=1, description="characters of a prompt at most")


class DroppedPrompt(Record):
    source: str
    source_row: str
    reason: DropReason
    detail: str


class SourceCounts(Record):
    read: int = Field(description="rows read")
    kept: int = Field(description="rows that became prompts")
    dropped: Mapping[str, int] = Field(description="rows dropped, by reason")


class Ingestion(Record):
    """What one ingestion adds."""

    batches: Mapping[str, tuple[Prompt, ...]] = Field(description="new prompts by batch, '<source>-0001' …, file order")
    dropped: tuple[DroppedPrompt, ...]
    counts: Mapping[str, SourceCounts] = Field(description="by source")
    revisions: Mapping[str, str] = Field(description="commit read, by source from the Hub")


@dataclass(frozen=True)
class _File:
    path: Path
    place: str
    """How rows and messages name it."""


def ingest(
    specs: Iterable[SourceSpec],
    known: Sequence[Prompt],
    settings: IngestSettings,
    next_batch_number: Callable[[str], int] | Mapping[str, int],
    access: HubAccess | None = None,
) -> Ingestion:
    """Reads the sources in order and batches the prompts that are new.

    Args:
        specs: sources with different names.
        known: every prompt ingested so far.
        settings: batch size and limits.
        next_batch_number: for a source's name, the number of its next batch; 1 where a mapping has none.
        access: how to reach the Hub, for sources that lie there.

    Raises:
        SetupError: two sources share a name, or one cannot be read as it was described.
    """
    sources = _with_different_names(specs)
    index = DuplicateIndex(settings.near_duplicate_threshold)
    for prompt in known:
        index.add_known(prompt)
    batches: dict[str, tuple[Prompt, ...]] = {}
    dropped: list[DroppedPrompt] = []
    counts: dict[str, SourceCounts] = {}
    revisions: dict[str, str] = {}
    for spec in sources:
        files, revision = _files(spec, access or HubAccess())
        if revision:
            revisions[spec.name] = revision
        outcomes = [_admitted(outcome, index) for outcome in _prompts(spec, files, settings)]
        fresh = [outcome for outcome in outcomes if isinstance(outcome, Prompt)]
        refused = [outcome for outcome in outcomes if isinstance(outcome, DroppedPrompt)]
        batches |= _cut(fresh, spec.name, _first_number(spec.name, known, next_batch_number), settings.batch_size)
        dropped += refused
        by_reason = dict(sorted(Counter(str(row.reason) for row in refused).items()))
        counts[spec.name] = SourceCounts(read=len(outcomes), kept=len(fresh), dropped=by_reason)
    return Ingestion(batches=batches, dropped=tuple(dropped), counts=counts, revisions=revisions)


def next_batch_numbers(batches: Iterable[str]) -> dict[str, int]:
    """For each source with batches, the number after its last. Keys are '<source>-<number>'; others are ignored."""
    numbers: dict[str, int] = {}
    for batch in batches:
        source, _, number = batch.rpartition("-")
        if source and number.isdecimal():
            numbers[source] = max(numbers.get(source, 1), int(number) + 1)
    return numbers


def _with_different_names(specs: Iterable[SourceSpec]) -> tuple[SourceSpec, ...]:
    sources = tuple(specs)
    repeated = [name for name, times in Counter(spec.name for spec in sources).items() if times > 1]
    if repeated:
        raise SetupError(f"sources: the name '{repeated[0]}' is used twice; it names batches, so each needs its own")
    return sources


def _files(spec: SourceSpec, access: HubAccess) -> tuple[list[_File], str | None]:
    """The files of a source, with the commit they come from when they come from the Hub."""
    if spec.path:
        return [_File(spec.path, spec.path.name)], None
    dataset = download(spec, access)
    origin = f"{spec.dataset}@{dataset.revision}"
    return [_File(file.path, f"{origin} {file.name}") for file in dataset.files], dataset.revision


def _prompts(spec: SourceSpec, files: Sequence[_File], settings: IngestSettings) -> Iterator[Prompt | DroppedPrompt]:
    """Every row of the source, as a prompt not yet in a batch or as dropped."""
    left = spec.limit
    for file in files:
        if left == 0:
            return
        table = read_file(file.path, left)
        left = None if left is None else left - len(table.rows)
        columns = settle_columns(spec, table.columns, str(spec.path or file.place)) if table.columns else None
        for row in table.rows:
            content = _content(row, columns, settings.max_prompt_chars)
            yield _outcome(spec.name, f"{file.place} row {row.number}", content)


def _content(row: FileRow, columns: Columns | None, max_prompt_chars: int) -> RowContent | Rejection:
    if isinstance(row.content, Rejection):
        return row.content
    if columns is None:
        return Rejection(DropReason.NO_PROMPT, "the object is empty")
    return read_row(columns, row.content, max_prompt_chars)


def _outcome(source: str, source_row: str, content: RowContent | Rejection) -> Prompt | DroppedPrompt:
    if isinstance(content, RowContent):
        return Prompt(
            prompt_id=prompt_id(content.prompt),
            batch="",
            source=source,
            source_row=source_row,
            category=content.category,
            licence=content.licence,
            prompt=content.prompt,
        )
    return DroppedPrompt(source=source, source_row=source_row, reason=content.reason, detail=content.detail)


def _admitted(outcome: Prompt | DroppedPrompt, index: DuplicateIndex) -> Prompt | DroppedPrompt:
    if isinstance(outcome, DroppedPrompt) or not (duplicate := index.add(outcome)):
        return outcome
    near = duplicate.similarity is not None
    return DroppedPrompt(
        source=outcome.source,
        source_row=outcome.source_row,
        reason=DropReason.NEAR_DUPLICATE if near else DropReason.DUPLICATE,
        detail=_of_what(duplicate),
    )


def _of_what(duplicate: Duplicate) -> str:
    of = f"duplicate of {duplicate.of.prompt_id} ({duplicate.of.source}: {duplicate.of.source_row})"
    return of if duplicate.similarity is None else f"near {of}, Jaccard {duplicate.similarity:.2f}"


def _first_number(
    source: str, known: Sequence[Prompt], next_batch_number: Callable[[str], int] | Mapping[str, int]
) -> int:
    """Never a number that a known prompt's batch has, whatever the caller says: batches that exist do not change."""
    given = next_batch_number(source) if callable(next_batch_number) else next_batch_number.get(source, 1)
    return max(given, next_batch_numbers(prompt.batch for prompt in known).get(source, 1))


def _cut(prompts: Sequence[Prompt], source: str, number: int, size: int) -> dict[str, tuple[Prompt, ...]]:
    batches: dict[str, tuple[Prompt, ...]] = {}
    for start in range(0, len(prompts), size):
        batch = f"{source}-{number + start // size:04d}"
        batches[batch] = tuple(p.model_copy(update={"batch": batch}) for p in prompts[start : start + size])
    return batches
