"""Write the rows of a release as Parquet files.

    <folder>/data/<config>/<split>-00000-of-00001.parquet

The same rows give the same bytes. The version is a hash of the rows and their order, independent of
how the files encode them.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, get_args

import polars as pl

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.publishing.batch_rows import BatchRows, Judging
from aidsafe_dagster.publishing.batches import outdated_kinds, read_batch
from aidsafe_dagster.publishing.licences import SourceLicence
from aidsafe_dagster.publishing.parquet import DataFile, Shards
from aidsafe_dagster.publishing.rows import (
    CONFIGS,
    COUNTERFACTUALS,
    published_counterfactual,
    published_deliberation,
    published_dpo,
    published_feedback,
    published_selected,
    published_sft,
)
from aidsafe_dagster.publishing.settings import PublishSettings
from aidsafe_dagster.recipe.fine_tune_splits import Split
from aidsafe_dagster.recipe.format_types import RowKind
from aidsafe_dagster.recipe.general_mix import MixRow, select_general
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.recipe.stages import STAGES
from aidsafe_dagster.selection.records import SelectionRow

SPLITS: tuple[Split, ...] = get_args(Split)
ConfigSplit = tuple[RowKind, Split]
_INDEX_COLUMNS = (
    "prompt_id",
    "kind",
    "split",
    "prompt_kind",
    "source",
    "licence",
    "how_made",
)


@dataclass(frozen=True)
class ReleaseSelection:
    """The batches of a release."""

    batches: tuple[str, ...]
    left_out: Mapping[str, str]
    """Batch → why it is left out."""
    overridden: Mapping[str, str]
    """Batch → the closed gate that a person let it pass."""
    without_dpo: Mapping[str, str] = field(default_factory=dict)
    """Batch that is taken → why its DPO rows are not."""
    without_counterfactuals: Mapping[str, str] = field(default_factory=dict)
    """Batch that is taken → why its policy counterfactuals are not."""

    def narrowed(self, chosen: Collection[str]) -> "ReleaseSelection":
        """Return the selection of these batches alone; none: of all."""
        if not chosen:
            return self
        return ReleaseSelection(
            tuple(batch for batch in self.batches if batch in chosen),
            _only(self.left_out, chosen),
            _only(self.overridden, chosen),
            _only(self.without_dpo, chosen),
            _only(self.without_counterfactuals, chosen),
        )


@dataclass(frozen=True)
class ReleaseRows:
    """The rows of a release as written."""

    version: str
    files: tuple[DataFile, ...]
    counts: Mapping[ConfigSplit, int]
    published: pl.DataFrame
    """One line per fine-tune row: prompt_id, kind, split, prompt_kind, source, licence,
    how_made."""
    ambiguous: int
    """Rows that are not published because their own text contains a think tag."""
    beyond_mix: int
    """Benign SFT rows that are not published because the general mix is full."""


def drop_outdated(lake: Lake, selection: ReleaseSelection) -> ReleaseSelection:
    """Leave out the rows that no longer match the stages behind them.

    Without its SFT rows a batch is left out whole.

    Raises:
        SetupError: a partition is missing or damaged.
    """
    outdated = {}
    without_dpo = {}
    for batch in selection.batches:
        reasons = outdated_kinds(lake, batch)
        if "sft" in reasons:
            outdated[batch] = reasons["sft"]
        elif batch in selection.without_dpo:
            without_dpo[batch] = selection.without_dpo[batch]
        elif "dpo" in reasons:
            without_dpo[batch] = reasons["dpo"]
    return replace(
        selection,
        batches=tuple(batch for batch in selection.batches if batch not in outdated),
        left_out={**selection.left_out, **outdated},
        without_dpo=without_dpo,
    )


def write_rows(
    lake: Lake,
    selection: ReleaseSelection,
    settings: PublishSettings,
    judging: Judging,
    general_ratio: float | None,
    folder: Path,
    selected: Mapping[str, SelectionRow] | None = None,
) -> ReleaseRows:
    """Write the files, one batch after another.

    Args:
        lake: holds the rows.
        selection: the batches.
        settings: which configs, and how they are written.
        judging: what verdicts and labels hang on.
        general_ratio: benign SFT rows per safety row; None keeps all.
        folder: to write to.
        selected: by prompt id, the chosen rows of the selection in force.

    Raises:
        SetupError: a partition is damaged.
    """
    general, beyond_mix = general_mix(lake, selection.batches, general_ratio)
    shards = _open_shards(settings, folder)
    index = list[tuple[str, ...]]()
    ambiguous = 0
    # In the order of batches, and never of a hash: a new batch is then one insertion, and
    # content-defined chunks send little of the old rows again.
    for key in selection.batches:
        batch = read_batch(
            lake,
            key,
            general,
            without_dpo=key in selection.without_dpo,
            without_counterfactuals=key in selection.without_counterfactuals,
        )
        rows = BatchRows(batch, judging, selected or {})
        for place, shard in shards.items():
            shard.add(_published_rows(rows, place, settings))
        for row in batch.rows:
            index.append(tuple(getattr(row, column) for column in _INDEX_COLUMNS))
        ambiguous += batch.ambiguous
    files = list[DataFile]()
    for shard in shards.values():
        files += shard.close()
    # The schema is explicit, since the types of an empty index cannot be inferred.
    index_schema = dict.fromkeys(_INDEX_COLUMNS, pl.String)
    published = pl.DataFrame(index, schema=index_schema, orient="row")
    return ReleaseRows(
        version=_version(shards),
        files=tuple(files),
        counts={place: shard.rows for place, shard in shards.items() if shard.rows},
        published=published,
        ambiguous=ambiguous,
        beyond_mix=beyond_mix,
    )


def source_licences(lake: Lake, batches: tuple[str, ...]) -> list[SourceLicence]:
    """Count the prompts per source and licence."""
    counts = Counter[tuple[str, str]]()
    columns = ["prompt_id", "source", "licence"]
    for batch in batches:
        # A prompt has up to two fine-tune rows, and counts once.
        prompts = lake.rows(Stage.FINE_TUNE_SPLITS, batch, columns).unique()
        counts.update(prompts.select("source", "licence").iter_rows())
    return [
        SourceLicence(source, licence, prompts)
        for (source, licence), prompts in sorted(counts.items())
    ]


def simulated_prompts(lake: Lake, batches: tuple[str, ...]) -> dict[str, int]:
    """Count the prompts per batch that have a simulated row; batches without any are absent.

    Every stage counts: a model that refines a rehearsed deliberation does not make it real.
    """
    counts = {}
    for batch in batches:
        ids = lake.rows(Stage.FINE_TUNE_SPLITS, batch, ["prompt_id"]).unique()
        stages = [stage for stage in STAGES if lake.has(stage, batch)]
        ids_by_stage = [_simulated_ids(lake, stage, batch) for stage in stages]
        simulated = pl.concat(ids_by_stage)
        count = ids.join(simulated, on="prompt_id", how="semi").height
        if count:
            counts[batch] = count
    return counts


def drop_simulated(lake: Lake, selection: ReleaseSelection) -> ReleaseSelection:
    """Leave batches with simulated rows out, if there are others; alone they stay, to be refused.

    The reason is among those of the batches that are left out.
    """
    simulated = simulated_prompts(lake, selection.batches)
    real = tuple(batch for batch in selection.batches if batch not in simulated)
    if not simulated or not real:
        return selection
    reasons = dict(selection.left_out)
    for batch, prompts in simulated.items():
        reasons[batch] = f"rehearsal: the answers to {prompts:,} prompts are simulated"
    return replace(
        selection,
        batches=real,
        left_out=reasons,
        without_dpo=_only(selection.without_dpo, real),
        without_counterfactuals=_only(selection.without_counterfactuals, real),
    )


def _only(reasons: Mapping[str, str], batches: Collection[str]) -> dict[str, str]:
    return {batch: why for batch, why in reasons.items() if batch in batches}


def _simulated_ids(lake: Lake, stage: str, batch: str) -> pl.DataFrame:
    rows = lake.rows(stage, batch, ["prompt_id", "simulated"])
    # No model is asked for the rows of some stages.
    if "simulated" not in rows.columns:
        return rows.clear().select("prompt_id")
    return rows.filter(pl.col("simulated")).select("prompt_id")


def general_mix(
    lake: Lake, batches: tuple[str, ...], ratio: float | None
) -> tuple[frozenset[str] | None, int]:
    """Select the prompts whose SFT rows are kept.

    Returns:
        The prompts kept, and the number of those dropped; (None, 0) when all are kept.
    """
    if ratio is None:
        return None, 0
    columns = ["kind", *MixRow._fields]
    rows = []
    for batch in batches:
        # Preference pairs have a mix of their own (`pairs.over_refusal_share`).
        sft = lake.rows(Stage.FINE_TUNE_SPLITS, batch, columns).filter(kind="sft")
        mix_columns = sft.select(MixRow._fields)
        rows += [MixRow(*values) for values in mix_columns.iter_rows()]
    kept = frozenset(select_general(rows, ratio))
    dropped = {row.prompt_id for row in rows} - kept
    return kept, len(dropped)


def _open_shards(settings: PublishSettings, folder: Path) -> dict[ConfigSplit, Shards]:
    shards = {}
    for config in settings.configs:
        for split in SPLITS:
            shards[config, split] = Shards(
                folder,
                f"data/{config}/{split}",
                CONFIGS[config],
                settings.reasoning,
                settings.shard_mb * 2**20,
            )
    return shards


def _published_rows(
    rows: BatchRows, place: ConfigSplit, settings: PublishSettings
) -> list[dict[str, Any]]:
    config, split = place
    pairs = rows.batch.pairs if config == "dpo" else {}
    published = []
    for row, behind in rows.with_lineage(config, split):
        if config == "deliberations":
            published.append(published_deliberation(row, behind))
        elif config == "sft":
            published.append(published_sft(row, settings.reasoning))
        elif config == "selected":
            published.append(published_selected(row, behind, settings.reasoning))
        elif config in COUNTERFACTUALS:
            answer = published_counterfactual(row, config, behind, settings.reasoning)
            published.append(answer)
        elif config == "dpo":
            pair = pairs[row.prompt_id]
            published.append(published_dpo(row, pair, settings.reasoning))
        else:
            feedback = published_feedback(row, config, behind, settings.reasoning)
            published.append(feedback)
    return published


def _version(shards: Mapping[ConfigSplit, Shards]) -> str:
    digest = blake2b(digest_size=6)
    # Sorted, so that the order of `publish.configs` does not change the version.
    for (config, split), shard in sorted(shards.items()):
        if shard.rows:
            line = f"{config}/{split}:{shard.content}\n"
            digest.update(line.encode())
    return digest.hexdigest()
