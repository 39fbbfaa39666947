"""The training set: the fine-tune rows of some batches as Parquet files in TRL's columns, under a version of their own.

    <home>/training/<version>/sft_train.parquet        messages
    <home>/training/<version>/dpo_train.parquet        prompt, chosen, rejected     … and so on for validation and test

No column more than the trainer needs, but for `prompt_id`: TRL takes a string `prompt` beside `messages` for another
format.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import schema_of
from aidsafe_dagster.recipe.general_mix import MixRow, select_general
from aidsafe_dagster.recipe.records import FineTuneRow, Stage
from aidsafe_dagster.training.settings import Method

SPLITS = ("train", "validation", "test")
_COLUMNS: Mapping[Method, tuple[str, ...]] = {
    "sft": ("messages",),
    "dpo": ("prompt", "chosen", "rejected"),
}


@dataclass(frozen=True)
class TrainingSet:
    version: str
    folder: Path
    batches: Mapping[str, str]
    """Batch → fingerprint of its rows."""
    rows: Mapping[str, int]
    """`sft_train`, `dpo_validation` … → rows."""
    licences: Mapping[str, int]
    """Licence of the prompt → rows, of both methods."""
    simulated: bool
    """Some rows are the rehearsal engine's."""

    def file(self, method: Method, split: str) -> Path:
        return self.folder / f"{method}_{split}.parquet"


def dataset_version(
    lake: Lake, batches: Sequence[str] | None = None, general_ratio: float | None = None
) -> str:
    """Short hash over the fingerprints of the fine-tune rows, of some batches or of all, and over the general mix."""
    keys = lake.batches(Stage.FINE_TUNE_SPLITS) if batches is None else batches
    prints = sorted(lake.fingerprint(Stage.FINE_TUNE_SPLITS, batch) for batch in keys)
    prints += [] if general_ratio is None else [f"general {general_ratio}"]
    return hashlib.blake2b("".join(prints).encode(), digest_size=6).hexdigest()


def write_training_set(
    lake: Lake, batches: Sequence[str], home: Path, general_ratio: float | None = None
) -> TrainingSet:
    """Writes the files; the same batches and ratio give the same bytes in the same place.

    `general_ratio`: benign SFT rows for each safety row at most (`recipe.general_mix`); None keeps all.
    """
    version = dataset_version(lake, batches, general_ratio)
    rows = _mixed(
        pl.concat(
            [
                pl.DataFrame(schema=schema_of(FineTuneRow)),
                *(lake.rows(Stage.FINE_TUNE_SPLITS, batch) for batch in sorted(batches)),
            ],
            how="diagonal_relaxed",  # an older release wrote fewer columns, and fewer fields in them
        ),
        general_ratio,
    )
    found = TrainingSet(
        version=version,
        folder=home / "training" / version,
        batches={
            batch: lake.fingerprint(Stage.FINE_TUNE_SPLITS, batch) for batch in sorted(batches)
        },
        rows={
            f"{kind}_{split}": of(rows, kind, split).height for kind in _COLUMNS for split in SPLITS
        },
        licences=dict(sorted(Counter(rows["licence"].to_list()).items())),
        simulated=bool(rows["simulated"].any()),
    )
    found.folder.mkdir(parents=True, exist_ok=True)
    for kind, columns in _COLUMNS.items():
        for split in SPLITS:
            of(rows, kind, split).select(*columns, "prompt_id").write_parquet(
                found.file(kind, split)
            )
    return found


def of(rows: pl.DataFrame, kind: Method, split: str) -> pl.DataFrame:
    return rows.filter(pl.col("kind") == kind, pl.col("split") == split)


def _mixed(rows: pl.DataFrame, ratio: float | None) -> pl.DataFrame:
    """Without the benign SFT rows that the general mix takes no more."""
    if ratio is None:
        return rows
    sft = rows.filter(kind="sft").select(MixRow._fields)
    kept = select_general([MixRow(*row) for row in sft.iter_rows()], ratio)
    return rows.filter((pl.col("kind") != "sft") | pl.col("prompt_id").is_in(kept))
