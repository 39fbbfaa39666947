"""Prompts by the ids that their sources give them.

Such an id is a user's own. It need not be unique, and nothing of the pipeline rests on it.
"""

from collections.abc import Collection
from typing import NamedTuple

import polars as pl

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.sources.tables import DROPPED, INGESTED

_MOST_CHOICES = 8


class OwnPrompt(NamedTuple):
    prompt_id: str
    batch: str
    source_row: str


def prompt_of_own_id(lake: Lake, own_id: str) -> OwnPrompt | None:
    """Return the prompt of an id that its source gave it; None if no row has it.

    Raises:
        SetupError: several prompts have it, or the row with it was dropped; says which and why.
    """
    rows = _rows_with(lake, INGESTED, own_id, ["prompt_id", "batch", "source_row"])
    if rows is not None and rows.height == 1:
        return OwnPrompt(*rows.row(0))
    if rows is not None and rows.height:
        lines = []
        for row in rows.head(_MOST_CHOICES).iter_rows():
            prompt = OwnPrompt(*row)
            lines.append(f"  {prompt.prompt_id}  {prompt.source_row}")
        listing = "\n".join(lines)
        raise SetupError(
            f"{rows.height} prompts have the id '{own_id}' of their own:\n{listing}"
        )
    dropped = _rows_with(lake, DROPPED, own_id, ["source_row", "reason", "detail"])
    if dropped is not None and dropped.height:
        source_row, reason, detail = dropped.row(0)
        raise SetupError(
            f"the row with the id '{own_id}' of its own was dropped: "
            f"{source_row}: {reason}: {detail}"
        )
    return None


def own_ids(lake: Lake, prompt_ids: Collection[str]) -> dict[str, str]:
    """Return the own ids of those of the prompts that have one, by prompt id."""
    rows = lake.all_rows(INGESTED, ["prompt_id", "own_id"])
    if rows is None:
        return {}
    wanted = rows.filter(pl.col("prompt_id").is_in(list(prompt_ids)))
    # In a batch of an earlier release they are null.
    return {prompt_id: own_id for prompt_id, own_id in wanted.iter_rows() if own_id}


def _rows_with(
    lake: Lake, table: str, own_id: str, columns: list[str]
) -> pl.DataFrame | None:
    rows = lake.all_rows(table, ["own_id", *columns])
    if not own_id or rows is None:
        return None
    # In a batch of an earlier release they are null.
    return rows.filter(pl.col("own_id").cast(pl.String) == own_id).select(columns)
