"""The record of what the splits of a batch were made from: a table with one row per batch."""

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.fine_tune_splits import SplitInputs

SPLIT_INPUTS = "split_inputs"


def read_split_inputs(lake: Lake, batch: str) -> SplitInputs | None:
    """Return what the splits were made from, None if that is not recorded."""
    if not lake.has(SPLIT_INPUTS, batch):
        return None
    (inputs,) = lake.records(SPLIT_INPUTS, batch, SplitInputs)
    return inputs


def store_split_inputs(lake: Lake, inputs: SplitInputs) -> None:
    """Record what the splits were made from.

    Comes after the rows are written: after a kill in between they are made again.
    """
    lake.store(SPLIT_INPUTS, inputs.batch, [inputs], SplitInputs)
