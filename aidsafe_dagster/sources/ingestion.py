"""Ingestion: read sources, cut new prompts into batches, and record every dropped row.

Ingestion is append-only and idempotent. Known prompts are skipped, so the same sources can be
ingested every night. Existing batches never change; new prompts always make new batches.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from pydantic import Field

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Prompt, Record
from aidsafe_dagster.sources.clusters import Admission, Orphan, Thresholds, admit
from aidsafe_dagster.sources.hub_access import HubAccess
from aidsafe_dagster.sources.locate import locate_files
from aidsafe_dagster.sources.reading import ReadFile, read_source
from aidsafe_dagster.sources.rejection import DroppedPrompt, DropReason
from aidsafe_dagster.sources.remarks import late_id_remarks, late_response_remarks
from aidsafe_dagster.sources.settings import IngestSettings
from aidsafe_dagster.sources.source import SourceSpec


class SourceCounts(Record):
    read: int = Field(description="rows read")
    kept: int = Field(description="rows that became prompts")
    dropped: Mapping[str, int] = Field(description="rows dropped, by reason")
    remarks: tuple[str, ...] = Field(
        default=(),
        description="what a user is told of the rows besides, a sentence each",
    )


class Ingestion(Record):
    """The result of one ingestion."""

    batches: Mapping[str, tuple[Prompt, ...]] = Field(
        description="new prompts by batch, '<source>-0001' …, in file order"
    )
    dropped: tuple[DroppedPrompt, ...]
    counts: Mapping[str, SourceCounts] = Field(description="by source")
    revisions: Mapping[str, str] = Field(
        description="commit that was read, by source on the Hub"
    )
    files: tuple[ReadFile, ...] = Field(
        default=(), description="files that were read, and how"
    )


def ingest(
    specs: Iterable[SourceSpec],
    known: Sequence[Prompt],
    settings: IngestSettings,
    next_batch_number: Callable[[str], int] | Mapping[str, int],
    access: HubAccess | None = None,
) -> Ingestion:
    """Read the sources in order and cut the new prompts into batches.

    Args:
        specs: sources with different names.
        known: all prompts ingested earlier.
        settings: batch size and limits.
        next_batch_number: source name → number of its next batch; 1 if a mapping has none.
        access: how to reach the Hub.

    Raises:
        SetupError: two sources share a name, or a source cannot be read as described.
    """
    sources = tuple(specs)
    _check_names(sources)
    rows: dict[str, list[Prompt | DroppedPrompt]] = {}
    remarks: dict[str, list[str]] = {}
    files = list[ReadFile]()
    revisions: dict[str, str] = {}
    # Every source is read before any batch is cut: a source that cannot be read changes nothing.
    for spec in sources:
        located = locate_files(spec, access or HubAccess())
        if located.revision:
            revisions[spec.name] = located.revision
        source = read_source(spec, located.files, settings)
        rows[spec.name] = source.rows
        remarks[spec.name] = source.remarks
        files += source.files
    batches: dict[str, tuple[Prompt, ...]] = {}
    counts: dict[str, SourceCounts] = {}
    dropped = list[DroppedPrompt]()
    for name, source_rows in _deduplicate(rows, known, settings).items():
        prompts = [row for row in source_rows if isinstance(row, Prompt)]
        number = _first_number(name, known, next_batch_number)
        batches |= _cut_batches(prompts, name, number, settings.batch_size)
        dropped_here = [row for row in source_rows if isinstance(row, DroppedPrompt)]
        remarks[name] += late_id_remarks(known, dropped_here)
        remarks[name] += late_response_remarks(known, rows[name])
        counts[name] = _count_rows(source_rows, remarks[name])
        dropped += dropped_here
    return Ingestion(
        batches=batches,
        dropped=tuple(dropped),
        counts=counts,
        revisions=revisions,
        files=tuple(files),
    )


def next_batch_numbers(batches: Iterable[str]) -> dict[str, int]:
    """Return for each source with batches the number after its last one.

    Batch keys are '<source>-<number>'; other keys are ignored.
    """
    numbers: dict[str, int] = {}
    for batch in batches:
        source, _, number = batch.rpartition("-")
        if source and number.isdecimal():
            following = int(number) + 1
            numbers[source] = max(numbers.get(source, 1), following)
    return numbers


def _check_names(sources: Sequence[SourceSpec]) -> None:
    for name, count in Counter(spec.name for spec in sources).items():
        if count > 1:
            raise SetupError(
                f"sources: the name '{name}' is used twice. "
                "It names batches, so each source needs its own"
            )


def _deduplicate(
    rows: Mapping[str, Sequence[Prompt | DroppedPrompt]],
    known: Sequence[Prompt],
    settings: IngestSettings,
) -> dict[str, list[Prompt | DroppedPrompt]]:
    """Assign each prompt to a cluster, or drop it as a duplicate; other rows stay as they are."""
    prompts = list[Prompt]()
    for source_rows in rows.values():
        prompts += [row for row in source_rows if isinstance(row, Prompt)]
    thresholds = Thresholds(
        settings.near_duplicate_threshold, settings.cluster_threshold
    )
    # One list for all sources, so that duplicates across sources are dropped too.
    admissions = iter(admit(known, prompts, thresholds))
    outcomes: dict[str, list[Prompt | DroppedPrompt]] = {}
    for source, source_rows in rows.items():
        outcomes[source] = []
        for row in source_rows:
            if isinstance(row, Prompt):
                outcomes[source].append(_keep_or_drop(row, next(admissions)))
            else:
                outcomes[source].append(row)
    return outcomes


def _keep_or_drop(prompt: Prompt, admission: Admission) -> Prompt | DroppedPrompt:
    if isinstance(admission, Prompt):
        return admission
    if isinstance(admission, Orphan):
        return DroppedPrompt(
            source=prompt.source,
            source_row=prompt.source_row,
            reason=DropReason.NO_PARENT,
            detail=f"made from {admission.parent}, and no such prompt is in the lake",
            own_id=prompt.own_id,
        )
    original = admission.original
    reason = DropReason.DUPLICATE
    detail = (
        f"duplicate of {original.prompt_id} ({original.source}: {original.source_row})"
    )
    if admission.similarity is not None:
        reason = DropReason.NEAR_DUPLICATE
        detail = f"near {detail}, Jaccard {admission.similarity:.2f}"
    return DroppedPrompt(
        source=prompt.source,
        source_row=prompt.source_row,
        reason=reason,
        detail=detail,
        own_id=prompt.own_id,
    )


def _count_rows(
    rows: Sequence[Prompt | DroppedPrompt], remarks: Sequence[str]
) -> SourceCounts:
    reasons = Counter[str]()
    for row in rows:
        if isinstance(row, DroppedPrompt):
            reasons[str(row.reason)] += 1
    return SourceCounts(
        read=len(rows),
        kept=len(rows) - reasons.total(),
        dropped=dict(sorted(reasons.items())),
        remarks=tuple(remarks),
    )


def _first_number(
    source: str,
    known: Sequence[Prompt],
    next_batch_number: Callable[[str], int] | Mapping[str, int],
) -> int:
    """Return the number of the first new batch.

    It is never that of a known prompt's batch, whatever the caller says: existing batches do not
    change.
    """
    if callable(next_batch_number):
        number = next_batch_number(source)
    else:
        number = next_batch_number.get(source, 1)
    unused = next_batch_numbers(prompt.batch for prompt in known)
    return max(number, unused.get(source, 1))


def _cut_batches(
    prompts: Sequence[Prompt], source: str, number: int, size: int
) -> dict[str, tuple[Prompt, ...]]:
    batches: dict[str, tuple[Prompt, ...]] = {}
    for start in range(0, len(prompts), size):
        batch_number = number + start // size
        batch = f"{source}-{batch_number:04d}"
        rows = []
        for prompt in prompts[start : start + size]:
            rows.append(prompt.model_copy(update={"batch": batch}))
        batches[batch] = tuple(rows)
    return batches
