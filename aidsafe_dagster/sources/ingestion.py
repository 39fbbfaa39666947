"""Ingestion: sources in, batches of new prompts out, and an account of every row that was dropped.

It only ever adds. What was ingested earlier is known by its prompts and skipped, so the same sources can be ingested
every night; batches that exist never change, and new prompts always make new ones.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from pydantic import Field

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Prompt, Record
from aidsafe_dagster.sources.clusters import Admission, Duplicate, Thresholds, admit
from aidsafe_dagster.sources.columns import Columns, RowContent, read_row, settle_columns
from aidsafe_dagster.sources.duplicates import prompt_id
from aidsafe_dagster.sources.files import FileRow, read_file
from aidsafe_dagster.sources.hub import HubAccess
from aidsafe_dagster.sources.locate import LocatedFile, locate
from aidsafe_dagster.sources.rejection import DropReason, Rejection
from aidsafe_dagster.sources.settings import IngestSettings
from aidsafe_dagster.sources.source import SourceSpec


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

    batches: Mapping[str, tuple[Prompt, ...]] = Field(
        description="new prompts by batch, '<source>-0001' …, file order"
    )
    dropped: tuple[DroppedPrompt, ...]
    counts: Mapping[str, SourceCounts] = Field(description="by source")
    revisions: Mapping[str, str] = Field(description="commit read, by source from the Hub")


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
    read: dict[str, list[Prompt | DroppedPrompt]] = {}
    revisions: dict[str, str] = {}
    for spec in _with_different_names(specs):
        located = locate(spec, access or HubAccess())
        if located.revision:
            revisions[spec.name] = located.revision
        read[spec.name] = list(_prompts(spec, located.files, settings))
    batches: dict[str, tuple[Prompt, ...]] = {}
    counts: dict[str, SourceCounts] = {}
    outcomes = _admitted(read, known, settings)
    for source, rows in outcomes.items():
        fresh = [row for row in rows if isinstance(row, Prompt)]
        batches |= _cut(
            fresh, source, _first_number(source, known, next_batch_number), settings.batch_size
        )
        counts[source] = _counted(rows)
    dropped = tuple(
        row for rows in outcomes.values() for row in rows if isinstance(row, DroppedPrompt)
    )
    return Ingestion(batches=batches, dropped=dropped, counts=counts, revisions=revisions)


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
        raise SetupError(
            f"sources: the name '{repeated[0]}' is used twice; it names batches, so each needs its own"
        )
    return sources


def _prompts(
    spec: SourceSpec, files: Sequence[LocatedFile], settings: IngestSettings
) -> Iterator[Prompt | DroppedPrompt]:
    """Every row of the source, as a prompt not yet in a batch or as dropped."""
    left = spec.limit
    for file in files:
        if left == 0:
            return
        table = read_file(file.path, left)
        left = None if left is None else left - len(table.rows)
        columns = (
            settle_columns(spec, table.columns, str(spec.path or file.place))
            if table.columns
            else None
        )
        for row in table.rows:
            content = _content(row, columns, settings.max_prompt_chars)
            yield _outcome(spec.name, f"{file.place} row {row.number}", content)


def _content(
    row: FileRow, columns: Columns | None, max_prompt_chars: int
) -> RowContent | Rejection:
    if isinstance(row.content, Rejection):
        return row.content
    if columns is None:
        return Rejection(DropReason.NO_PROMPT, "the object is empty")
    return read_row(columns, row.content, max_prompt_chars)


def _outcome(
    source: str, source_row: str, content: RowContent | Rejection
) -> Prompt | DroppedPrompt:
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
    return DroppedPrompt(
        source=source, source_row=source_row, reason=content.reason, detail=content.detail
    )


def _admitted(
    read: Mapping[str, Sequence[Prompt | DroppedPrompt]],
    known: Sequence[Prompt],
    settings: IngestSettings,
) -> dict[str, list[Prompt | DroppedPrompt]]:
    """The same rows by source, the prompts among them with their clusters or dropped as duplicates."""
    prompts = [row for rows in read.values() for row in rows if isinstance(row, Prompt)]
    thresholds = Thresholds(settings.near_duplicate_threshold, settings.cluster_threshold)
    admissions = iter(zip(prompts, admit(known, prompts, thresholds), strict=True))
    return {
        source: [
            _kept_or_dropped(*next(admissions)) if isinstance(row, Prompt) else row for row in rows
        ]
        for source, rows in read.items()
    }


def _kept_or_dropped(prompt: Prompt, admission: Admission) -> Prompt | DroppedPrompt:
    if isinstance(admission, Prompt):
        return admission
    return DroppedPrompt(
        source=prompt.source,
        source_row=prompt.source_row,
        reason=DropReason.DUPLICATE if admission.similarity is None else DropReason.NEAR_DUPLICATE,
        detail=_of_what(admission),
    )


def _counted(rows: Sequence[Prompt | DroppedPrompt]) -> SourceCounts:
    reasons = Counter(str(row.reason) for row in rows if isinstance(row, DroppedPrompt))
    return SourceCounts(
        read=len(rows), kept=len(rows) - reasons.total(), dropped=dict(sorted(reasons.items()))
    )


def _of_what(duplicate: Duplicate) -> str:
    of = f"duplicate of {duplicate.of.prompt_id} ({duplicate.of.source}: {duplicate.of.source_row})"
    return of if duplicate.similarity is None else f"near {of}, Jaccard {duplicate.similarity:.2f}"


def _first_number(
    source: str,
    known: Sequence[Prompt],
    next_batch_number: Callable[[str], int] | Mapping[str, int],
) -> int:
    """Never a number that a known prompt's batch has, whatever the caller says: batches that exist do not change."""
    given = (
        next_batch_number(source)
        if callable(next_batch_number)
        else next_batch_number.get(source, 1)
    )
    return max(given, next_batch_numbers(prompt.batch for prompt in known).get(source, 1))


def _cut(
    prompts: Sequence[Prompt], source: str, number: int, size: int
) -> dict[str, tuple[Prompt, ...]]:
    batches: dict[str, tuple[Prompt, ...]] = {}
    for start in range(0, len(prompts), size):
        batch = f"{source}-{number + start // size:04d}"
        batches[batch] = tuple(
            p.model_copy(update={"batch": batch}) for p in prompts[start : start + size]
        )
    return batches
