"""Ingestion: sources → new prompts → sealed batches, registered as partitions.

Append-only: a new prompt makes a new batch, and a batch that was made never changes. What was dropped lies in the table
`dropped_prompts`, with a reason each. The file of a batch is written before its partition is registered; a batch whose
registration a crash prevented is registered by the next ingestion.

Everything else can be made again, but not which prompts a batch was sealed with. So a sealed batch is kept twice, and a
file that is damaged or gone is put back from the other.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import dagster as dg
import polars as pl
from filelock import FileLock
from pydantic import Field

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import from_frame, to_frame
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Prompt, Record
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.runs.advisory_lock import hold_advisory_lock
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.sources.ingestion import DroppedPrompt, Ingestion, ingest, next_batch_numbers
from aidsafe_dagster.sources.source import SourceSpec, bundled_sources
from aidsafe_dagster.sources.tables import COPIES, DROPPED, INGESTED
from aidsafe_dagster.stages.metadata import table
from aidsafe_dagster.stages.partitions import batches

R = TypeVar("R", bound=Record)
logger = logging.getLogger(__name__)


class IngestConfig(dg.Config):
    sources: list[dict[str, Any]] = Field(
        default=[],
        description="sources for this run alone, as [[sources]] in aidsafe.toml; empty: those of the settings",
    )


@dg.op
def ingest_prompts(
    context: dg.OpExecutionContext,
    config: IngestConfig,
    lake: LakeResource,
    settings: SettingsResource,
) -> dict[str, int]:
    """Reads the sources, drops duplicates and unusable rows with a reason, seals the rest in new batches."""
    loaded = settings.load()
    if config.sources:
        loaded = load_settings(overrides=settings.overrides | {"sources": config.sources}).settings
    taken = take_in(context.instance, lake.open(), loaded)
    new = {batch: len(rows) for batch, rows in taken.ingestion.batches.items()}
    context.log.info(
        f"{sum(new.values())} new prompts in {len(new)} batches, {len(taken.dropped)} rows dropped"
    )
    if taken.restored:
        context.log.warning(f"Put back from their copies: {', '.join(taken.restored)}")
    context.add_output_metadata(
        {
            "new_prompts": sum(new.values()),
            "new_batches": table(new, "batch"),
            "new_clusters": taken.new_clusters,
            "near_to_several_clusters": taken.bridging,
            "dropped": table(taken.dropped_by_reason, "source: reason"),
            "seen_before": taken.seen_before,
            "revisions": dict(taken.ingestion.revisions),
            "restored": list(taken.restored),
        }
    )
    return new


@dg.job(
    description="Takes new prompts in from the sources of the settings and seals them in new batches",
    tags={"aidsafe/alone": "ingestion"},  # a run queue of several hosts starts one at a time
)
def ingest_sources() -> None:
    ingest_prompts()


@dataclass(frozen=True)
class IngestionOutcome:
    """One ingestion, with the rows that an earlier one had kept or dropped told apart from those dropped now."""

    ingestion: Ingestion
    dropped: tuple[DroppedPrompt, ...]
    seen_before: int
    restored: tuple[str, ...]
    """Batches that were damaged or gone, and put back."""

    @property
    def new_clusters(self) -> int:
        """Clusters of similar prompts that begin here; the other new prompts joined one."""
        return sum(
            row.cluster == row.prompt_id for rows in self.ingestion.batches.values() for row in rows
        )

    @property
    def bridging(self) -> int:
        """New prompts that are near to more than one cluster."""
        return sum(
            bool(row.near_clusters) for rows in self.ingestion.batches.values() for row in rows
        )

    @property
    def dropped_by_reason(self) -> Mapping[str, int]:
        return Counter(f"{row.source}: {row.reason}" for row in self.dropped)


def take_in(instance: dg.DagsterInstance, lake: Lake, settings: Settings) -> IngestionOutcome:
    """Ingests the sources of the settings into the lake and registers the new batches.

    Raises:
        SetupError: a source cannot be read, or a sealed batch and its copy are damaged.
    """
    assert batches.name is not None
    settings.home.mkdir(parents=True, exist_ok=True)
    with (
        FileLock(settings.home / "ingest.lock"),
        hold_advisory_lock("ingestion", settings, logger.info),
    ):
        restored = restore(lake, instance.get_dynamic_partitions(batches.name))
        sealed = lake.batches(INGESTED)
        _register(instance, sealed)
        known = _stored(lake, INGESTED, Prompt)
        ingestion = ingest(sources_of(settings), known, settings.ingest, next_batch_numbers(sealed))
        seen = {(row.source, row.source_row) for row in known}
        seen |= {(row.source, row.source_row) for row in _stored(lake, DROPPED, DroppedPrompt)}
        dropped = tuple(
            row for row in ingestion.dropped if (row.source, row.source_row) not in seen
        )
        for batch, rows in ingestion.batches.items():
            lake.write(COPIES, batch, to_frame(rows, Prompt))
            lake.write(INGESTED, batch, to_frame(rows, Prompt))
        if dropped:
            number = next_batch_numbers(lake.batches(DROPPED)).get("ingest", 1)
            lake.write(DROPPED, f"ingest-{number:04d}", to_frame(dropped, DroppedPrompt))
        _register(instance, list(ingestion.batches))
    return IngestionOutcome(ingestion, dropped, len(ingestion.dropped) - len(dropped), restored)


def restore(lake: Lake, known: Sequence[str]) -> tuple[str, ...]:
    """Puts sealed batches back that are damaged, or `known` and gone; returns them. What has no whole copy gets one.

    Raises:
        SetupError: a batch and its copy are damaged.
    """
    restored = []
    for batch in sorted({*known, *lake.batches(INGESTED)}):
        whole, copied = (_is_whole(lake, table, batch) for table in (INGESTED, COPIES))
        if whole and not copied:
            lake.copy(batch, source=INGESTED, target=COPIES)
        if copied and not whole:
            lake.copy(batch, source=COPIES, target=INGESTED)
            restored.append(batch)
        if not whole and not copied and lake.has(INGESTED, batch):
            raise SetupError(
                f"{lake.rows_path(INGESTED, batch)}: damaged, and there is no whole copy at "
                f"{lake.rows_path(COPIES, batch)}. Put either back from a backup; or remove both and delete partition "
                f"'{batch}', and ingest again: then its prompts make a new batch"
            )
    return tuple(restored)


def sealed_rows(lake: Lake, batch: str) -> pl.DataFrame:
    """A batch as ingestion sealed it, put back from its copy if need be.

    Raises:
        SetupError: there is no such batch, or it and its copy are damaged.
    """
    if not _is_whole(lake, INGESTED, batch) and _is_whole(lake, COPIES, batch):
        lake.copy(batch, source=COPIES, target=INGESTED)
    return lake.rows(INGESTED, batch)


def _is_whole(lake: Lake, table: str, batch: str) -> bool:
    try:
        lake.rows(table, batch)
    except SetupError:
        return False
    return True


def sources_of(settings: Settings) -> Sequence[SourceSpec]:
    """The sources of the settings, or the bundled samples."""
    return settings.sources or bundled_sources()


def _stored(lake: Lake, name: str, record: type[R]) -> list[R]:
    """Batch by batch: one of an older release lacks newer columns, and then has their defaults."""
    return [
        row for batch in lake.batches(name) for row in from_frame(lake.rows(name, batch), record)
    ]


def _register(instance: dg.DagsterInstance, keys: Sequence[str]) -> None:
    assert batches.name is not None
    new = sorted(set(keys) - set(instance.get_dynamic_partitions(batches.name)))
    if new:
        instance.add_dynamic_partitions(batches.name, new)
