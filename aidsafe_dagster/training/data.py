"""Write the training set: fine-tune rows of some batches as versioned Parquet files for TRL.

    <home>/training/<version>/sft_train.parquet        messages
    <home>/training/<version>/dpo_train.parquet        prompt, chosen, rejected

There are such files for validation and test too. Apart from `prompt_id`, they have only the columns
that the trainer needs: TRL mistakes a string `prompt` beside `messages` for another format.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import polars as pl

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import from_frame, schema_of, to_frame
from aidsafe_dagster.lake.translations import (
    translated_rows,
    translation_tables,
    without_known_in_evaluation,
)
from aidsafe_dagster.recipe.general_mix import MixRow, select_general
from aidsafe_dagster.recipe.records import FineTuneRow, Stage
from aidsafe_dagster.training.settings import Method

SPLITS = ("train", "validation", "test")
_COLUMNS: Mapping[Method, tuple[str, ...]] = {
    "sft": ("messages",),
    "dpo": ("prompt", "chosen", "rejected"),
}


class Subset(NamedTuple):
    """Some rows of the train split. Validation and test stay whole, so that arms compare."""

    name: str
    """What was chosen, such as `selected`."""
    prompts: Collection[str]


@dataclass(frozen=True)
class TrainingSet:
    version: str
    folder: Path
    batches: Mapping[str, str]
    """Batch → fingerprint of its rows."""
    rows: Mapping[str, int]
    """`sft_train`, `dpo_validation` … → rows."""
    licences: Mapping[str, int]
    """Licence of the prompt → rows of both methods."""
    simulated: bool
    """Whether any row comes from the rehearsal engine."""
    rows_of: str = "all"
    """Name of the subset that the train split is."""

    def file(self, method: Method, split: str) -> Path:
        return self.folder / f"{method}_{split}.parquet"


def dataset_version(
    lake: Lake,
    batches: Sequence[str] | None = None,
    general_ratio: float | None = None,
    *,
    without_dpo: Collection[str] = (),
    subset: Subset | None = None,
) -> str:
    """Return a short hash of the fine-tune rows' fingerprints and of the general mix.

    Args:
        lake: holds the rows.
        batches: None for all batches of the lake.
        general_ratio: see `write_training_set`.
        without_dpo: see `write_training_set`.
        subset: see `write_training_set`.
    """
    keys = batches
    if keys is None:
        keys = lake.batches(Stage.FINE_TUNE_SPLITS)
    # Sorted by content, so that the order in which batches are named does not count.
    parts = []
    for batch in keys:
        part = lake.fingerprint(Stage.FINE_TUNE_SPLITS, batch)
        # Splits that hold no DPO rows give the same rows either way.
        if batch in without_dpo and _has_dpo_rows(lake, batch):
            part += " sft"
        for table in translation_tables(lake):
            if lake.has(table, batch):
                part += f" {lake.fingerprint(table, batch)}"
        parts.append(part)
    parts.sort()
    # The ratio decides which rows stay, so another ratio is another dataset.
    if general_ratio is not None:
        parts.append(f"general {general_ratio}")
    if subset is not None:
        # By what it is and not by its name: the same rows are the same dataset.
        parts.append(f"rows {' '.join(sorted(subset.prompts))}")
    text = "".join(parts)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def write_training_set(
    lake: Lake,
    batches: Sequence[str],
    home: Path,
    general_ratio: float | None = None,
    *,
    without_dpo: Collection[str] = (),
    subset: Subset | None = None,
) -> TrainingSet:
    """Write the files; the same batches and ratio give the same bytes in the same place.

    Args:
        lake: holds the rows.
        batches: whose rows are written.
        home: the folder above that of all training sets.
        without_dpo: batches whose DPO rows are behind a closed gate, and are left out.
        general_ratio: maximum number of benign SFT rows per safety row (`recipe.general_mix`);
            None keeps all.
        subset: the rows of the train split to train on, of both kinds; None: all.
    """
    version = dataset_version(
        lake, batches, general_ratio, without_dpo=without_dpo, subset=subset
    )
    rows = read_training_rows(
        lake, batches, general_ratio, without_dpo=without_dpo, subset=subset
    )
    return store_training_set(
        rows,
        fingerprints_of(lake, batches),
        version,
        home / "training",
        rows_of=subset.name if subset else "all",
    )


def fingerprints_of(lake: Lake, batches: Sequence[str]) -> dict[str, str]:
    """Return batch → fingerprint of its fine-tune rows."""
    return {
        batch: lake.fingerprint(Stage.FINE_TUNE_SPLITS, batch)
        for batch in sorted(batches)
    }


def read_training_rows(
    lake: Lake,
    batches: Sequence[str],
    general_ratio: float | None = None,
    *,
    without_dpo: Collection[str] = (),
    subset: Subset | None = None,
) -> pl.DataFrame:
    """Return the fine-tune rows of all splits; for the arguments, see `write_training_set`."""
    rows = _read_rows(lake, sorted(batches), without_dpo)
    rows = _drop_beyond_mix(rows, general_ratio)
    if subset is None:
        return rows
    is_chosen = pl.col("prompt_id").is_in(list(subset.prompts))
    return rows.filter((pl.col("split") != "train") | is_chosen)


def store_training_set(
    rows: pl.DataFrame,
    batches: Mapping[str, str],
    version: str,
    folder: Path,
    rows_of: str = "all",
) -> TrainingSet:
    """Write the files of a training set.

    Args:
        rows: fine-tune rows of all splits.
        batches: batch → fingerprint of its rows.
        version: of the dataset, and the name of its folder.
        folder: that of all training sets.
        rows_of: name of the selection that the rows are.
    """
    parts = {}
    for method in _COLUMNS:
        for split in SPLITS:
            parts[method, split] = rows.filter(kind=method, split=split)
    counts = {}
    for (method, split), part in parts.items():
        counts[f"{method}_{split}"] = part.height
    licences = Counter(rows["licence"].to_list())
    training_set = TrainingSet(
        version=version,
        folder=folder / version,
        batches=batches,
        rows=counts,
        licences=dict(sorted(licences.items())),
        simulated=bool(rows["simulated"].any()),
        rows_of=rows_of,
    )
    training_set.folder.mkdir(parents=True, exist_ok=True)
    for (method, split), part in parts.items():
        columns = part.select(*_COLUMNS[method], "prompt_id")
        columns.write_parquet(training_set.file(method, split))
    return training_set


def _read_rows(
    lake: Lake, batches: Sequence[str], without_dpo: Collection[str]
) -> pl.DataFrame:
    # The empty frame gives the result its columns where there is no batch.
    frames = [pl.DataFrame(schema=schema_of(FineTuneRow))]
    for batch in batches:
        rows = lake.rows(Stage.FINE_TUNE_SPLITS, batch)
        if batch in without_dpo:
            rows = rows.filter(kind="sft")
        rows = without_known_in_evaluation(lake, batch, rows)
        frames.append(rows)
        records = from_frame(rows, FineTuneRow) if translation_tables(lake) else []
        translated = [row for row, _ in translated_rows(lake, batch, records)]
        if translated:
            frames.append(to_frame(translated, FineTuneRow))
    # Older releases wrote fewer columns, and fewer fields in them.
    return pl.concat(frames, how="diagonal_relaxed")


def _has_dpo_rows(lake: Lake, batch: str) -> bool:
    rows = lake.rows(Stage.FINE_TUNE_SPLITS, batch, ["kind"])
    return not rows.filter(kind="dpo").is_empty()


def _drop_beyond_mix(rows: pl.DataFrame, ratio: float | None) -> pl.DataFrame:
    """Drop the benign SFT rows for which the general mix has no room."""
    if ratio is None:
        return rows
    sft = rows.filter(kind="sft").select(MixRow._fields)
    mix_rows = [MixRow(*row) for row in sft.iter_rows()]
    kept = select_general(mix_rows, ratio)
    is_kept = pl.col("prompt_id").is_in(kept)
    return rows.filter((pl.col("kind") != "sft") | is_kept)
