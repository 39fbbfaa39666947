"""Ingestion: sources → new prompts → sealed batches, registered as partitions.

Append-only: new prompts make new batches, and a sealed batch never changes. Dropped rows are kept
in the table `dropped_prompts`, each with its reason. The file of a batch is written before its
partition is registered; if a crash comes in between, the next ingestion registers it.

Everything else can be made again, but not the choice of prompts that a batch was sealed with. So a
sealed batch is stored twice, and a file that is damaged or gone is restored from the other.
"""

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import dagster as dg
from pydantic import Field

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.translations import translated_prompts
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Prompt, Record
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.runs.locks import ingestion_lock
from aidsafe_dagster.settings.launchpad import refuse_file
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.sources.ingestion import (
    Ingestion,
    ingest,
    next_batch_numbers,
)
from aidsafe_dagster.sources.reading import ReadFile
from aidsafe_dagster.sources.rejection import DroppedPrompt
from aidsafe_dagster.sources.source import SourceSpec, bundled_sources
from aidsafe_dagster.sources.tables import COPIES, DROPPED, INGESTED
from aidsafe_dagster.stages.metadata import count_table, record_table
from aidsafe_dagster.stages.partitions import batches

R = TypeVar("R", bound=Record)
logger = logging.getLogger(__name__)
_EXAMPLES = 2
"""Dropped rows that are shown of each reason and source."""


class IngestConfig(dg.Config):
    sources: list[dict[str, Any]] = Field(
        default=[],
        description="sources for this run alone, as [[sources]] in aidsafe.toml; "
        "empty: those of the settings",
    )


@dg.op
def ingest_prompts(
    context: dg.OpExecutionContext,
    config: IngestConfig,
    lake: LakeResource,  # noqa: ARG001 - it holds the locks of the run
    settings: SettingsResource,
) -> dict[str, int]:
    """Read the sources, drop duplicates and unusable rows, seal the rest in new batches."""
    snapshot = settings.snapshot
    if config.sources:
        # Loaded once more so that they are checked like sources from the settings file.
        overrides = settings.overrides | {"sources": config.sources}
        sources = load_settings(overrides=overrides).settings.sources
        for source in sources:
            if source.path:
                refuse_file(source.path, snapshot.settings.launchpad)
        snapshot = snapshot.with_settings(sources=sources)
    outcome = ingest_into_lake(context.instance, snapshot.settings)
    batch_sizes = {}
    for batch, rows in outcome.ingestion.batches.items():
        batch_sizes[batch] = len(rows)
    new_prompts = sum(batch_sizes.values())
    context.log.info(
        f"New prompts: {new_prompts}; new batches: {len(batch_sizes)}; "
        f"rows dropped: {len(outcome.dropped)}"
    )
    if outcome.restored:
        names = ", ".join(outcome.restored)
        context.log.warning(f"Restored from their copies: {names}")
    context.add_output_metadata(
        {
            "new_prompts": new_prompts,
            "new_batches": count_table(batch_sizes, "batch"),
            "new_clusters": outcome.new_clusters,
            "near_to_several_clusters": outcome.bridging_prompts,
            "files": _table(outcome.ingestion.files, ReadFile),
            "dropped": count_table(outcome.dropped_by_reason, "source: reason"),
            "dropped_examples": _table(outcome.dropped_examples, DroppedPrompt),
            "remarks": outcome.remarks,
            "seen_before": outcome.seen_before,
            "revisions": dict(outcome.ingestion.revisions),
            "restored": list(outcome.restored),
            "settings_hash": snapshot.hash,
        }
    )
    return batch_sizes


@dg.job(
    description="Takes in new prompts from the configured sources and seals them in new batches",
    # A run queue that serves several hosts starts one ingestion at a time.
    tags={"aidsafe/alone": "ingestion"},
)
def ingest_sources() -> None:
    ingest_prompts()


@dataclass(frozen=True)
class IngestionOutcome:
    """One ingestion, with the rows that it dropped apart from those that were dropped before."""

    ingestion: Ingestion
    dropped: tuple[DroppedPrompt, ...]
    seen_before: int
    """Rows that an earlier ingestion had kept or dropped."""
    restored: tuple[str, ...]
    """Batches whose file was damaged or gone, and is back."""

    @property
    def new_prompts(self) -> list[Prompt]:
        prompts: list[Prompt] = []
        for rows in self.ingestion.batches.values():
            prompts.extend(rows)
        return prompts

    @property
    def new_clusters(self) -> int:
        """Count the clusters of similar prompts that begin here; other new prompts joined one."""
        # A cluster has the id of its first prompt.
        return sum(prompt.cluster == prompt.prompt_id for prompt in self.new_prompts)

    @property
    def bridging_prompts(self) -> int:
        """Count the new prompts that are near to more than one cluster."""
        return sum(bool(prompt.near_clusters) for prompt in self.new_prompts)

    @property
    def dropped_examples(self) -> list[DroppedPrompt]:
        """Return a few rows of each reason and source."""
        examples = list[DroppedPrompt]()
        counts = Counter[tuple[str, str]]()
        for row in self.dropped:
            kind = (row.source, row.reason)
            counts[kind] += 1
            if counts[kind] <= _EXAMPLES:
                examples.append(row)
        return examples

    @property
    def remarks(self) -> list[str]:
        """Return what a user is told of each source besides its counts."""
        remarks = list[str]()
        for source, counts in self.ingestion.counts.items():
            remarks += [f"{source}: {remark}" for remark in counts.remarks]
        return remarks

    @property
    def dropped_by_reason(self) -> Mapping[str, int]:
        return Counter(f"{row.source}: {row.reason}" for row in self.dropped)


def ingest_into_lake(
    instance: dg.DagsterInstance, settings: Settings
) -> IngestionOutcome:
    """Ingest the configured sources into the lake and register the new batches.

    Raises:
        SetupError: a source cannot be read, or a sealed batch and its copy are damaged.
    """
    assert batches.name is not None
    # Batches are numbered from what exists, so only one ingestion may number at a time.
    lock = ingestion_lock(settings)
    lake = Lake(settings.lake, lock.confirm)
    with lock.hold(f"process {os.getpid()}", logger.info):
        registered = instance.get_dynamic_partitions(batches.name)
        restored = restore_batches(lake, registered)
        sealed = lake.batches(INGESTED)
        # Ends what an ingestion began that was killed between sealing and registering.
        _register(instance, sealed)
        known = [*_all_records(lake, INGESTED, Prompt), *translated_prompts(lake)]
        sources = configured_sources(settings)
        numbers = next_batch_numbers(sealed)
        ingestion = ingest(sources, known, settings.ingest, numbers)
        # Sources are read from the start every time, so a row may have been dropped before.
        places = {(prompt.source, prompt.source_row) for prompt in known}
        for row in _all_records(lake, DROPPED, DroppedPrompt):
            places.add((row.source, row.source_row))
        dropped = []
        for row in ingestion.dropped:
            if (row.source, row.source_row) not in places:
                dropped.append(row)
        for batch, rows in ingestion.batches.items():
            # The copy comes first, so a batch that counts as sealed always has one.
            lake.store(COPIES, batch, rows, Prompt)
            lake.store(INGESTED, batch, rows, Prompt)
        if dropped:
            # Each ingestion writes a file of its own, because files of the lake are never extended.
            number = next_batch_numbers(lake.batches(DROPPED)).get("ingest", 1)
            lake.store(DROPPED, f"ingest-{number:04d}", dropped, DroppedPrompt)
        _register(instance, list(ingestion.batches))
    seen_before = len(ingestion.dropped) - len(dropped)
    return IngestionOutcome(ingestion, tuple(dropped), seen_before, restored)


def restore_batches(lake: Lake, registered: Sequence[str]) -> tuple[str, ...]:
    """Restore sealed batches that are damaged, or registered and gone; copy those without a copy.

    Returns:
        The keys of the restored batches.

    Raises:
        SetupError: a batch and its copy are damaged.
    """
    restored = []
    for batch in sorted({*registered, *lake.batches(INGESTED)}):
        is_whole = _is_readable(lake, INGESTED, batch)
        has_copy = _is_readable(lake, COPIES, batch)
        if is_whole and not has_copy:
            lake.copy(batch, source=INGESTED, target=COPIES)
        elif has_copy and not is_whole:
            lake.copy(batch, source=COPIES, target=INGESTED)
            restored.append(batch)
        elif not is_whole and not has_copy and lake.has(INGESTED, batch):
            raise SetupError(
                f"{lake.rows_path(INGESTED, batch)}: damaged, and there is no intact copy at "
                f"{lake.rows_path(COPIES, batch)}. Restore either from a backup. Or remove both, "
                f"delete partition '{batch}', and ingest again: its prompts then make a new batch"
            )
    return tuple(restored)


def sealed_prompts(lake: Lake, batch: str) -> list[Prompt]:
    """Return a batch as ingestion sealed it, restored from its copy if need be.

    Raises:
        SetupError: there is no such batch, or it and its copy are damaged.
    """
    if not _is_readable(lake, INGESTED, batch) and _is_readable(lake, COPIES, batch):
        lake.copy(batch, source=COPIES, target=INGESTED)
    return lake.records(INGESTED, batch, Prompt)


def configured_sources(settings: Settings) -> Sequence[SourceSpec]:
    """Return the sources of the settings, or the bundled samples."""
    return settings.sources or bundled_sources()


def _is_readable(lake: Lake, table: str, batch: str) -> bool:
    try:
        lake.rows(table, batch)
    except SetupError:
        return False
    return True


def _all_records(lake: Lake, table: str, record: type[R]) -> list[R]:
    """Read batch by batch: files of an older release lack columns, and take their defaults."""
    records: list[R] = []
    for batch in lake.batches(table):
        records.extend(lake.records(table, batch, record))
    return records


def _table(records: Sequence[Record], kind: type[Record]) -> dg.TableMetadataValue:
    lines = [record.model_dump(mode="json") for record in records]
    return record_table(lines, list(kind.model_fields))


def _register(instance: dg.DagsterInstance, keys: Sequence[str]) -> None:
    assert batches.name is not None
    new_keys = sorted(set(keys) - set(instance.get_dynamic_partitions(batches.name)))
    if new_keys:
        instance.add_dynamic_partitions(batches.name, new_keys)
