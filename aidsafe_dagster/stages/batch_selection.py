"""Which batches a whole-dataset asset takes: those behind open gates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import dagster as dg

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.split_inputs import read_split_inputs
from aidsafe_dagster.publishing.dataset import ReleaseSelection
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.recipe.stages import all_upstream
from aidsafe_dagster.sources.tables import INGESTED
from aidsafe_dagster.stages.dpo_gate import accepted_gate, why_without_dpo
from aidsafe_dagster.stages.gates import is_complete, read_gate


@dataclass(frozen=True)
class TrainingSelection:
    """The batches that are trained on, and those that are left out."""

    batches: tuple[str, ...]
    closed: tuple[str, ...]
    """Their gate is closed."""
    simulated: tuple[str, ...]
    """They hold rows of the rehearsal engine."""
    without_dpo: Mapping[str, str]
    """Batch that is trained on → why its DPO rows are left out."""

    def __str__(self) -> str:
        text = (
            f"batches: {len(self.batches)} taken, {len(self.closed)} left out for a closed gate, "
            f"{len(self.simulated)} left out as simulated"
        )
        if self.without_dpo:
            text += f", {len(self.without_dpo)} of those taken without DPO rows"
        return text


def select_for_training(
    instance: dg.DagsterInstance, lake: Lake, *, allow_simulated: bool
) -> TrainingSelection:
    """Return the batches to train on.

    Raises:
        SetupError: there is none; the message says why.
    """
    table = Stage.FINE_TUNE_SPLITS
    selected, closed, simulated = [], [], []
    for batch in lake.batches(table):
        if not is_complete(instance, lake, table, batch):
            closed.append(batch)
        elif not allow_simulated and _has_simulated_rows(lake, table, batch):
            simulated.append(batch)
        else:
            selected.append(batch)
    selection = TrainingSelection(
        tuple(selected),
        tuple(closed),
        tuple(simulated),
        _without_dpo(instance, lake, selected),
    )
    if selected:
        return selection
    if not closed and not simulated:
        raise SetupError(
            "there is nothing to train on: no batch has fine_tune_splits yet (`aidsafe backfill`)"
        )
    hint = ""
    if simulated:
        hint = (
            "; simulated rows are not for training: make batches with a model, "
            "or set training.allow_simulated = true to rehearse the training too"
        )
    raise SetupError(f"there is nothing to train on: {selection}{hint}")


def _has_simulated_rows(lake: Lake, table: str, batch: str) -> bool:
    """Tell whether the rehearsal engine made any row: one is enough to label the whole batch."""
    rows = lake.rows(table, batch, ["simulated"])
    return bool(rows["simulated"].any())


def select_for_release(instance: dg.DagsterInstance, lake: Lake) -> ReleaseSelection:
    """Return the batches whose fine-tune splits passed their gate, and the others with the reason.

    Batches that a person let past a closed gate further up are named as well.
    """
    finished = lake.batches(Stage.FINE_TUNE_SPLITS)
    selected, left_out, overridden = [], {}, {}
    for batch in finished:
        gate = read_gate(instance, lake, Stage.FINE_TUNE_SPLITS, batch)
        if not gate.open:
            left_out[batch] = str(gate)
            continue
        selected.append(batch)
        # The last gate can be open behind a closed one, if a person let the batch past it.
        closed_upstream = _closed_gates_upstream(instance, lake, batch)
        if closed_upstream:
            overridden[batch] = "; ".join(closed_upstream)
    # Every ingested batch is accounted for, so that none is missed in silence.
    for batch in lake.batches(INGESTED):
        if batch not in finished:
            left_out[batch] = _why_not_made(instance, lake, batch)
    return ReleaseSelection(
        tuple(selected),
        left_out,
        overridden,
        _without_dpo(instance, lake, selected),
        _without_counterfactuals(instance, lake, selected),
    )


def _without_dpo(
    instance: dg.DagsterInstance, lake: Lake, batches: Sequence[str]
) -> dict[str, str]:
    """Return the batches whose DPO rows must not be used, with the reason."""
    reasons = {}
    for batch in batches:
        reason = why_without_dpo(lake, partial(read_gate, instance, lake), batch)
        if reason:
            reasons[batch] = reason
    return reasons


def _without_counterfactuals(
    instance: dg.DagsterInstance, lake: Lake, batches: Sequence[str]
) -> dict[str, str]:
    """Return the batches whose policy counterfactuals must not be used, with the closed gate."""
    reasons = {}
    for batch in batches:
        # Most projects have none, and then there is no gate to read.
        if lake.has(Stage.POLICY_COUNTERFACTUALS, batch):
            gate = read_gate(instance, lake, Stage.POLICY_COUNTERFACTUALS, batch)
            if not gate.open:
                reasons[batch] = str(gate)
    return reasons


def _why_not_made(instance: dg.DagsterInstance, lake: Lake, batch: str) -> str:
    """Return that the fine-tune splits are missing, and the gate or stage that they wait for."""
    missing = f"{Stage.FINE_TUNE_SPLITS} has not been made yet"
    for stage in all_upstream(Stage.FINE_TUNE_SPLITS):
        if not lake.has(stage, batch):
            # Of a batch that nobody has begun there is no more to say.
            return missing if stage == Stage.PROMPTS else f"{missing}; next is {stage}"
        gate = read_gate(instance, lake, stage, batch)
        # The first is the one to mend: behind it, nothing goes on.
        if not gate.open:
            return f"{missing}; closed gate: {gate}"
    return f"{missing} (`aidsafe backfill`)"


def _closed_gates_upstream(
    instance: dg.DagsterInstance, lake: Lake, batch: str
) -> list[str]:
    closed = []
    for stage in all_upstream(Stage.FINE_TUNE_SPLITS):
        gate = read_gate(instance, lake, stage, batch)
        if not gate.open:
            closed.append(str(gate))
    inputs = read_split_inputs(lake, batch)
    if inputs and accepted_gate(lake, inputs):
        closed.append(inputs.accepted_gate)
    return closed
