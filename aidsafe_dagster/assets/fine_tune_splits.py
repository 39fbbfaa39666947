"""Asset `fine_tune_splits`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import dagster as dg
import polars as pl

from aidsafe_dagster.lake.batch_recipes import store_recipe
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.split_inputs import store_split_inputs
from aidsafe_dagster.recipe.fine_tune_splits import (
    ScoreGate,
    SplitInputs,
    dpo_row,
    find_low_scores,
    sft_row,
    splits_near,
    why_no_twin,
)
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.prompt_kinds import classify_prompt
from aidsafe_dagster.recipe.records import (
    CotGrades,
    Failure,
    FailureReason,
    FineTuneRow,
    PreferencePair,
    Prompt,
    PromptKind,
    RefinedCot,
    Stage,
)
from aidsafe_dagster.reports.markdown import markdown_table
from aidsafe_dagster.reports.splits import build_split_tables, with_policies
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.sources.contamination import Match
from aidsafe_dagster.stages.decontamination import left_out, open_decontamination
from aidsafe_dagster.stages.dpo_gate import why_pairs_wait
from aidsafe_dagster.stages.gates import GateConfig, read_gate, require_gate
from aidsafe_dagster.stages.materialization import Materialized, materialized
from aidsafe_dagster.stages.metadata import (
    count_table,
    floor_metadata,
    row_metadata,
    threshold_metadata,
)
from aidsafe_dagster.stages.recipe_gate import begin_recipe, recipe_metadata
from aidsafe_dagster.stages.row_links import row_links
from aidsafe_dagster.stages.stage_asset import stage_asset


@stage_asset(Stage.FINE_TUNE_SPLITS)
def fine_tune_splits(
    context: dg.AssetExecutionContext,
    config: GateConfig,
    lake: LakeResource,
    settings: SettingsResource,
) -> Materialized:
    """SFT rows (prompt → CoT + response) and DPO rows (chosen, rejected) as TRL trains on them.

    Split by clusters of near-duplicate prompts. Rows that are in an evaluation set, near to prompts
    of two splits, or below the score gate are counted and left out. So are the DPO rows while the
    gate of the pairs is closed; the SFT rows do not wait for it.
    """
    opened = lake.open()
    batch = context.partition_key
    snapshot = settings.snapshot
    overridden = require_gate(
        context, opened, Stage.FINE_TUNE_SPLITS, accept=config.accept_failed_gate
    )
    recipe = begin_recipe(context, opened, Stage.FINE_TUNE_SPLITS, snapshot)
    split_inputs = _find_split_inputs(
        context, opened, snapshot.settings.score_gate, accept=config.accept_failed_gate
    )
    inputs = _read_inputs(opened, batch, snapshot.policies, split_inputs.closed_gate)
    # Searched once more, since a set may have been added or mended after `prompts` was made.
    decontamination = open_decontamination(snapshot.settings)
    matches = decontamination.find([*inputs.refined, *inputs.pairs])
    rows, failures = _select(inputs, snapshot.settings, matches)
    frame = opened.store(Stage.FINE_TUNE_SPLITS, batch, rows, FineTuneRow, failures)
    decontamination.record(opened, Stage.FINE_TUNE_SPLITS, batch)
    store_split_inputs(opened, split_inputs)
    store_recipe(opened, recipe)
    metadata = {
        **_metadata(opened, batch, inputs, frame, rows, failures, snapshot.settings),
        **decontamination.metadata(failures),
        **recipe_metadata(recipe),
        **_gate_metadata(split_inputs, overridden),
    }
    return materialized(
        snapshot,
        metadata,
        data_version=opened.fingerprint(Stage.FINE_TUNE_SPLITS, batch),
        simulated=any(row.simulated for row in rows),
    )


@dataclass(frozen=True)
class _Inputs:
    """What a batch's rows are made from."""

    refined: Sequence[RefinedCot]
    pairs: Sequence[PreferencePair]
    grades: Mapping[str, CotGrades]
    """By prompt id; a row without a valid grade has none."""
    policies: Policies
    closed_gate: str
    """Keeps the DPO rows out; empty if none does."""

    def prompt_kind(self, row: RefinedCot) -> PromptKind:
        grades = self.grades.get(row.prompt_id)
        if grades is None:
            return classify_prompt(row, self.policies)
        # The kind that was graded, even if the policies have changed since.
        return grades.prompt_kind


def _find_split_inputs(
    context: dg.AssetExecutionContext,
    lake: Lake,
    score_gate: ScoreGate,
    *,
    accept: bool,
) -> SplitInputs:
    """Return what the rows are to be made from. DPO rows need the gate of the pairs as well."""
    batch = context.partition_key
    fingerprint = lake.fingerprint(Stage.PREFERENCE_PAIRS, batch)
    pairs = None
    if lake.has(Stage.PREFERENCE_PAIRS, batch):
        pairs = lake.rows(Stage.PREFERENCE_PAIRS, batch, ["prompt_id"]).height
    closed = why_pairs_wait(lake, partial(read_gate, context.instance, lake), batch)
    # A person may let pairs pass that failed, but not pairs that do not exist.
    accepted = closed if accept and pairs is not None else ""
    if accepted:
        context.log.warning(f"Gate overridden by this run's configuration: {accepted}")
    elif closed:
        context.log.warning(f"Made without DPO rows: {closed}")
    return SplitInputs(
        batch=batch,
        pairs=pairs,
        pairs_fingerprint=fingerprint,
        closed_gate="" if accepted else closed,
        accepted_gate=accepted,
        score_gate=score_gate,
    )


def _gate_metadata(
    inputs: SplitInputs, overridden: Mapping[str, str]
) -> dict[str, Any]:
    """Return the gate that keeps the DPO rows out, and the gates that a person overrode."""
    metadata: dict[str, Any] = {}
    if inputs.closed_gate:
        metadata["dpo_rows_kept_out"] = inputs.pairs or 0
        metadata["dpo_rows_kept_out_by"] = inputs.closed_gate
    gates = [*overridden.values(), inputs.accepted_gate]
    closed = "; ".join(filter(None, gates))
    if closed:
        metadata["gate_overridden"] = closed
    return metadata


def _read_inputs(
    lake: Lake, batch: str, policies: Policies, closed_gate: str
) -> _Inputs:
    grades = lake.records(Stage.COT_GRADES, batch, CotGrades)
    pairs: list[PreferencePair] = []
    if lake.has(Stage.PREFERENCE_PAIRS, batch):
        pairs = lake.records(Stage.PREFERENCE_PAIRS, batch, PreferencePair)
    return _Inputs(
        refined=lake.records(Stage.REFINED_COTS, batch, RefinedCot),
        pairs=pairs,
        grades={row.prompt_id: row for row in grades},
        policies=policies,
        closed_gate=closed_gate,
    )


def _select(
    inputs: _Inputs, settings: Settings, matches: Mapping[str, Match]
) -> tuple[list[FineTuneRow], list[Failure]]:
    """Return the rows to train on, and the account of those left out."""
    rows: list[FineTuneRow] = []
    failures: list[Failure] = []
    stage = Stage.FINE_TUNE_SPLITS
    for refined in inputs.refined:
        exclusion = _exclusion(refined, inputs, settings, matches)
        if exclusion is None:
            kind = inputs.prompt_kind(refined)
            rows.append(sft_row(refined, kind, settings.splits))
        else:
            reason, detail = exclusion
            failures.append(left_out(refined, stage, reason, f"sft: {detail}"))
    # A prompt has a row of each kind, and either may be left out, so the detail names the kind.
    for pair in inputs.pairs:
        exclusion = _pair_exclusion(pair, inputs, settings, matches)
        if exclusion is None:
            rows.append(dpo_row(pair, settings.splits))
        else:
            reason, detail = exclusion
            failures.append(left_out(pair, stage, reason, f"dpo: {detail}"))
    return rows, failures


def _exclusion(
    row: Prompt, inputs: _Inputs, settings: Settings, matches: Mapping[str, Match]
) -> tuple[FailureReason, str] | None:
    """Return why a row must not be trained on, None if it may."""
    # A row counts under one reason. Contamination comes first, because it is reported by prompt.
    match = matches.get(row.prompt_id)
    if match is not None:
        return FailureReason.CONTAMINATED, str(match)
    splits = splits_near(row, settings.splits)
    if len(splits) > 1:
        names = " and ".join(splits)
        return FailureReason.BRIDGES_SPLITS, f"near to prompts of {names}"
    if row.is_for_training_alone and splits != ("train",):
        made_from = row.derivation.parent if row.derivation else ""
        detail = f"{made_from}, which it was made from, is in {splits[0]}"
        return FailureReason.PARENT_HELD_OUT, detail
    flaw = why_no_twin(row, inputs.grades.get(row.prompt_id))
    if flaw:
        return FailureReason.NO_TWIN, flaw
    low_score = find_low_scores(inputs.grades.get(row.prompt_id), settings.score_gate)
    if low_score:
        return FailureReason.BELOW_SCORE, low_score
    return None


def _pair_exclusion(
    pair: PreferencePair,
    inputs: _Inputs,
    settings: Settings,
    matches: Mapping[str, Match],
) -> tuple[FailureReason, str] | None:
    """Return why a pair must not be trained on, None if it may.

    Its chosen side is the refined row, so what keeps that out keeps the pair out too.
    """
    if inputs.closed_gate:
        return FailureReason.CLOSED_GATE, inputs.closed_gate
    return _exclusion(pair, inputs, settings, matches)


def _metadata(
    lake: Lake,
    batch: str,
    inputs: _Inputs,
    frame: pl.DataFrame,
    rows: Sequence[FineTuneRow],
    failures: Sequence[Failure],
    settings: Settings,
) -> dict[str, Any]:
    """Return what the UI shows of the rows, which `frame` holds as they were written."""
    split_counts = Counter(f"{row.kind}/{row.split}" for row in rows)
    metadata = {
        **row_metadata(rows, failures),
        "splits": count_table(split_counts, "split"),
    }
    refined = lake.rows(Stage.REFINED_COTS, batch, ["prompt_id", "applicable_policies"])
    with_their_policies = with_policies(frame, refined)
    for table in build_split_tables(with_their_policies, settings.splits):
        metadata[table.title] = dg.MetadataValue.md(markdown_table(table))
    metadata |= floor_metadata(settings.score_gate, failures)
    metadata |= threshold_metadata(list(inputs.grades.values()))
    path = lake.rows_path(Stage.FINE_TUNE_SPLITS, batch)
    links = row_links(settings, Stage.FINE_TUNE_SPLITS, batch, failed=len(failures))
    return metadata | {"path": dg.MetadataValue.path(str(path)), **links}
