"""Table: batches whose splits were made without DPO rows, with the gate that kept them out."""

from aidsafe_dagster.lake.split_inputs import read_split_inputs
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.reports.frames import Dataset
from aidsafe_dagster.reports.sections import EMPTY_CELL, Table, format_count


def without_dpo_table(dataset: Dataset) -> Table | None:
    """Return a line per batch, None if every batch has its DPO rows."""
    lines = []
    for batch in dataset.batches_of(Stage.FINE_TUNE_SPLITS):
        inputs = read_split_inputs(dataset.lake, batch)
        if inputs is None or not inputs.closed_gate:
            continue
        pairs = EMPTY_CELL if inputs.pairs is None else format_count(inputs.pairs)
        lines.append((batch, inputs.closed_gate, pairs))
    if not lines:
        return None
    note = (
        "Their SFT rows did not wait. The pairs come in when preference_pairs passes its gate and "
        "fine_tune_splits is made again (aidsafe backfill)."
    )
    columns = ("batch", "closed gate", "pairs kept out")
    return Table(
        "Batches without DPO rows", columns, tuple(lines), note, text_columns=2
    )
