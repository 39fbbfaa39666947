"""Whether the DPO rows of a batch may be used, and whether its splits are outdated.

SFT rows stand behind the gates of `refined_cots` and `cot_grades`, DPO rows behind that of
`preference_pairs` as well. The splits are made without DPO rows while that gate is closed. This
module imports no Dagster, for `aidsafe status`.
"""

from collections.abc import Callable

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.split_inputs import read_split_inputs
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.fine_tune_splits import ScoreGate, SplitInputs
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.stages.gate_verdicts import Gate

GateReader = Callable[[str, str], Gate]
"""Returns the gate of a stage and a batch."""
NO_PAIRS = f"{Stage.PREFERENCE_PAIRS} has not been made yet"


def why_pairs_wait(lake: Lake, read_gate: GateReader, batch: str) -> str:
    """Return the closed gate before the DPO rows of a batch; empty if it is open."""
    if not lake.has(Stage.PREFERENCE_PAIRS, batch):
        return NO_PAIRS
    gate = read_gate(Stage.PREFERENCE_PAIRS, batch)
    return "" if gate.open else str(gate)


def why_without_dpo(lake: Lake, read_gate: GateReader, batch: str) -> str:
    """Return why the DPO rows of finished splits must not be used; empty if they may."""
    inputs = read_split_inputs(lake, batch)
    closed = why_pairs_wait(lake, read_gate, batch)
    if inputs and inputs.closed_gate:
        if closed:
            return closed
        return (
            f"{Stage.PREFERENCE_PAIRS} passed its gate after the splits were made: "
            f"make {Stage.FINE_TUNE_SPLITS} again (`aidsafe backfill`)"
        )
    # The pairs were there and passed when the splits were made, so no check speaks against them.
    if closed == NO_PAIRS:
        return ""
    if closed and inputs and accepted_gate(lake, inputs):
        return ""
    return closed


def accepted_gate(lake: Lake, inputs: SplitInputs) -> str:
    """Return the closed gate that a person let these very pairs past; empty if none."""
    pairs = lake.fingerprint(Stage.PREFERENCE_PAIRS, inputs.batch)
    return inputs.accepted_gate if inputs.pairs_fingerprint == pairs else ""


def are_splits_outdated(
    lake: Lake, read_gate: GateReader, batch: str, score_gate: ScoreGate
) -> bool:
    """Tell whether splits made now would take other rows: good pairs, or other floors."""
    try:
        inputs = read_split_inputs(lake, batch)
    except SetupError:
        # A damaged record is written anew with the splits.
        return True
    if inputs is None or inputs.score_gate != score_gate:
        return True
    if why_pairs_wait(lake, read_gate, batch):
        return False
    pairs = lake.fingerprint(Stage.PREFERENCE_PAIRS, batch)
    return bool(inputs.closed_gate) or inputs.pairs_fingerprint != pairs
