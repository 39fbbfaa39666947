"""The rows of a release as Parquet files.

    <folder>/data/<config>/<split>-00000-of-00001.parquet

The same rows give the same bytes. The version is a hash of the rows and their order, whatever the files' encoding.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, get_args

import polars as pl

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.publishing.batches import Batch, outdated, read_batch
from aidsafe_dagster.publishing.licences import SourceLicence
from aidsafe_dagster.publishing.parquet import DataFile, Shards
from aidsafe_dagster.publishing.rows import (
    CONFIGS,
    published_deliberation,
    published_dpo,
    published_sft,
)
from aidsafe_dagster.publishing.settings import PublishSettings
from aidsafe_dagster.recipe.fine_tune_splits import Split
from aidsafe_dagster.recipe.formats import RowKind
from aidsafe_dagster.recipe.general_mix import MixRow, select_general
from aidsafe_dagster.recipe.records import FineTuneRow, Stage
from aidsafe_dagster.recipe.stages import RECORDS

SPLITS: tuple[Split, ...] = get_args(Split)
Place = tuple[RowKind, Split]
_SHOWN = ("prompt_id", "kind", "split", "prompt_kind", "source", "licence")


@dataclass(frozen=True)
class ReleaseSelection:
    """The batches of a release."""

    batches: tuple[str, ...]
    left_out: Mapping[str, str]
    """Batch → why it is not in."""
    overridden: Mapping[str, str]
    """Batch → the gate that a person had it pass."""


@dataclass(frozen=True)
class Rows:
    """The rows of a release, as they were written."""

    version: str
    files: tuple[DataFile, ...]
    counts: Mapping[Place, int]
    published: pl.DataFrame
    """A line per fine-tune row: prompt_id, kind, split, prompt_kind, source, licence."""
    ambiguous: int
    """Rows that are not published: a text of theirs says a think tag."""
    beyond_mix: int
    """Benign SFT rows that are not published: the general mix takes no more."""


def settled(lake: Lake, chosen: ReleaseSelection) -> ReleaseSelection:
    """The choice without the batches whose fine-tune rows are not those of the stages above any more.

    Raises:
        SetupError: a partition is not there, or damaged.
    """
    old = {batch: why for batch in chosen.batches if (why := outdated(lake, batch))}
    return replace(
        chosen,
        batches=tuple(batch for batch in chosen.batches if batch not in old),
        left_out={**chosen.left_out, **old},
    )


def write_rows(
    lake: Lake,
    batches: tuple[str, ...],
    settings: PublishSettings,
    general_ratio: float | None,
    folder: Path,
) -> Rows:
    """Writes the files, batch after batch.

    Raises:
        SetupError: a partition is damaged.
    """
    mix, beyond = general_mix(lake, batches, general_ratio)
    shards = {
        (config, split): Shards(
            folder,
            f"data/{config}/{split}",
            CONFIGS[config],
            settings.reasoning,
            settings.shard_mb * 2**20,
        )
        for config in settings.configs
        for split in SPLITS
    }
    lines, ambiguous = list[tuple[str, ...]](), 0
    for batch in (read_batch(lake, key, mix) for key in batches):
        for place, shard in shards.items():
            shard.add(_rows(batch, place, settings))
        lines += [tuple(getattr(row, column) for column in _SHOWN) for row in batch.rows]
        ambiguous += batch.ambiguous
    return Rows(
        version=_version(shards),
        files=tuple(file for shard in shards.values() for file in shard.close()),
        counts={place: shard.rows for place, shard in shards.items() if shard.rows},
        published=pl.DataFrame(lines, schema=dict.fromkeys(_SHOWN, pl.String), orient="row"),
        ambiguous=ambiguous,
        beyond_mix=beyond,
    )


def source_licences(lake: Lake, batches: tuple[str, ...]) -> list[SourceLicence]:
    """What the rows come from, under which licences, with the number of prompts."""
    counts = Counter[tuple[str, str]]()
    for batch in batches:
        prompts = lake.rows(
            Stage.FINE_TUNE_SPLITS, batch, ["prompt_id", "source", "licence"]
        ).unique()
        counts.update(prompts.select("source", "licence").iter_rows())
    return [
        SourceLicence(source, licence, prompts)
        for (source, licence), prompts in sorted(counts.items())
    ]


def simulated_prompts(lake: Lake, batches: tuple[str, ...]) -> dict[str, int]:
    """Batch → prompts with a simulated row at any stage: a real refiner does not make a rehearsed deliberation real."""
    found = {}
    for batch in batches:
        ids = lake.rows(Stage.FINE_TUNE_SPLITS, batch, ["prompt_id"]).unique()
        simulated = [_simulated(lake, stage, batch) for stage in RECORDS if lake.has(stage, batch)]
        found[batch] = ids.join(pl.concat(simulated), on="prompt_id", how="semi").height
    return {batch: prompts for batch, prompts in found.items() if prompts}


def _simulated(lake: Lake, stage: str, batch: str) -> pl.DataFrame:
    rows = lake.rows(stage, batch, ["prompt_id", "simulated"])
    flagged = rows.filter(pl.col("simulated")) if "simulated" in rows.columns else rows.clear()
    return flagged.select("prompt_id")


def general_mix(
    lake: Lake, batches: tuple[str, ...], ratio: float | None
) -> tuple[frozenset[str] | None, int]:
    """(prompts whose SFT rows stay, how many do not); (None, 0) when all stay."""
    if ratio is None:
        return None, 0
    columns = ["kind", *MixRow._fields]
    frames = (
        lake.rows(Stage.FINE_TUNE_SPLITS, batch, columns).filter(kind="sft") for batch in batches
    )
    rows = [MixRow(*row) for frame in frames for row in frame.select(MixRow._fields).iter_rows()]
    kept = frozenset(select_general(rows, ratio))
    return kept, len({row.prompt_id for row in rows} - kept)


def _rows(batch: Batch, place: Place, settings: PublishSettings) -> list[dict[str, Any]]:
    config, split = place
    if config == "deliberations":
        return [
            published_deliberation(row, story)
            for row, story in batch.deliberations
            if row.split == split
        ]
    if config == "sft":
        return [published_sft(row, settings.reasoning) for row in _of_split(batch.sft, split)]
    pairs = batch.pairs
    return [
        published_dpo(row, pairs[row.prompt_id], settings.reasoning)
        for row in _of_split(batch.dpo, split)
    ]


def _of_split(rows: tuple[FineTuneRow, ...], split: Split) -> list[FineTuneRow]:
    return [row for row in rows if row.split == split]


def _version(shards: Mapping[Place, Shards]) -> str:
    digest = blake2b(digest_size=6)
    for (config, split), shard in sorted(shards.items()):
        if shard.rows:
            digest.update(f"{config}/{split}:{shard.content}\n".encode())
    return digest.hexdigest()
