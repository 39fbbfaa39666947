"""Lakes with many rows: copies of a batch, each with ids of its own."""

from pathlib import Path

import polars as pl

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.records import BELIEF_CANDIDATES
from aidsafe_dagster.recipe.stages import STAGES
from aidsafe_dagster.sources.tables import INGESTED

_ID_CHARS = 16


def write_copies(original: Lake, batch: str, folder: Path, copies: int) -> Lake:
    """Write copies of a batch into a lake in `folder`.

    Copy n is batch `many-<n>`; each of its prompts ends with 'copy <n>.'.
    """
    lake = Lake(folder / "lake")
    for table in (INGESTED, *STAGES, BELIEF_CANDIDATES):
        if not original.has(table, batch):
            continue
        rows = original.rows(table, batch)
        failures = original.failures(table, batch) if table in STAGES else None
        for copy in range(copies):
            key = f"many-{copy:04d}"
            failed = None if failures is None else copied_rows(failures, key, copy)
            lake.write(table, key, copied_rows(rows, key, copy), failed)
    return lake


def copied_rows(rows: pl.DataFrame, key: str, copy: int) -> pl.DataFrame:
    """Return the rows of a copied batch, with ids of their own."""
    suffix = f"{copy:06x}"
    prefix = pl.col("prompt_id").str.slice(0, _ID_CHARS - len(suffix))
    changed = {
        "prompt_id": pl.concat_str(prefix, pl.lit(suffix)),
        "batch": pl.lit(key),
    }
    # The turns of a row for training have the same name.
    if rows.schema.get("prompt") == pl.String:
        changed["prompt"] = pl.concat_str("prompt", pl.lit(f" copy {copy}."))
    return rows.with_columns(**changed)
