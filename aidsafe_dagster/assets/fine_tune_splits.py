"""Asset `fine_tune_splits`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from aidsafe_dagster.assets.cot_grades import cot_grades
from aidsafe_dagster.assets.preference_pairs import preference_pairs
from aidsafe_dagster.assets.refined_cots import refined_cots
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import from_frame, to_frame
from aidsafe_dagster.recipe.fine_tune_splits import below_score, bridged_splits, dpo_row, sft_row
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.prompt_kinds import kind_of
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
from aidsafe_dagster.stages.dialogue_stage import Materialized
from aidsafe_dagster.stages.gates import GateConfig, require_gate
from aidsafe_dagster.stages.metadata import REHEARSAL_LABEL, row_metadata, table, threshold_metadata
from aidsafe_dagster.stages.stage_asset import stage_asset


@stage_asset(Stage.FINE_TUNE_SPLITS, deps=[refined_cots, cot_grades, preference_pairs])
def fine_tune_splits(
    context: dg.AssetExecutionContext,
    config: GateConfig,
    lake: LakeResource,
    settings: SettingsResource,
) -> Materialized:
    """SFT rows (prompt → CoT + response) and DPO rows (chosen, rejected) as TRL trains on them.

    Split by clusters of near-duplicate prompts. Rows that are in an evaluation set, near to two splits, or below the
    score gate are counted and left out.
    """
    opened, batch, loaded = lake.open(), context.partition_key, settings.load()
    overridden = require_gate(
        context, opened, Stage.FINE_TUNE_SPLITS, accept=config.accept_failed_gate
    )
    given = _read(opened, batch, loaded.load_policies())
    check = open_decontamination(loaded)
    rows, failures = _sifted(given, loaded, check.find([*given.refined, *given.pairs]))
    opened.write(
        Stage.FINE_TUNE_SPLITS, batch, to_frame(rows, FineTuneRow), to_frame(failures, Failure)
    )
    check.remember(opened, Stage.FINE_TUNE_SPLITS, batch)
    return dg.MaterializeResult(
        metadata=_metadata(opened, batch, given, rows, failures, loaded)
        | check.metadata(failures)
        | overridden,
        data_version=dg.DataVersion(opened.fingerprint(Stage.FINE_TUNE_SPLITS, batch)),
    )


@dataclass(frozen=True)
class _Given:
    """What a batch's rows are made from."""

    refined: Sequence[RefinedCot]
    pairs: Sequence[PreferencePair]
    grades: Mapping[str, CotGrades]
    """By prompt id; a row without a valid grade has none."""
    policies: Policies

    def kind(self, row: RefinedCot) -> PromptKind:
        graded = self.grades.get(row.prompt_id)
        return graded.prompt_kind if graded else kind_of(row, self.policies)


def _read(lake: Lake, batch: str, policies: Policies) -> _Given:
    def rows(stage: Stage, record: type[Any]) -> list[Any]:
        return from_frame(lake.rows(stage, batch), record)

    grades = {row.prompt_id: row for row in rows(Stage.COT_GRADES, CotGrades)}
    pairs = rows(Stage.PREFERENCE_PAIRS, PreferencePair)
    return _Given(rows(Stage.REFINED_COTS, RefinedCot), pairs, grades, policies)


def _sifted(
    given: _Given, settings: Settings, contaminated: Mapping[str, Match]
) -> tuple[list[FineTuneRow], list[Failure]]:
    """The rows to train on, and the account of those left out."""
    rows, failures = list[FineTuneRow](), list[Failure]()
    for row in given.refined:
        if why := _left_out(row, given, settings, contaminated):
            failures.append(left_out(row, Stage.FINE_TUNE_SPLITS, why[0], f"sft: {why[1]}"))
        else:
            rows.append(sft_row(row, given.kind(row), settings.splits))
    for pair in given.pairs:
        if why := _left_out(pair, given, settings, contaminated):
            failures.append(left_out(pair, Stage.FINE_TUNE_SPLITS, why[0], f"dpo: {why[1]}"))
        else:
            rows.append(dpo_row(pair, settings.splits))
    return rows, failures


def _left_out(
    row: Prompt, given: _Given, settings: Settings, contaminated: Mapping[str, Match]
) -> tuple[FailureReason, str] | None:
    if match := contaminated.get(row.prompt_id):
        return FailureReason.CONTAMINATED, str(match)
    splits = bridged_splits(row, settings.splits)
    if len(splits) > 1:
        return FailureReason.BRIDGES_SPLITS, f"near to prompts of {' and '.join(splits)}"
    if low := below_score(given.grades.get(row.prompt_id), settings.score_gate):
        return FailureReason.BELOW_SCORE, low
    return None


def _metadata(
    lake: Lake,
    batch: str,
    given: _Given,
    rows: Sequence[FineTuneRow],
    failures: Sequence[Failure],
    settings: Settings,
) -> dict[str, Any]:
    simulated = any(row.simulated for row in rows)
    label: dict[str, Any] = {"simulated": dg.MetadataValue.md(REHEARSAL_LABEL)} if simulated else {}
    frame = with_policies(to_frame(rows, FineTuneRow), to_frame(given.refined, RefinedCot))
    return {
        **label,
        **row_metadata(rows, failures),
        "splits": table(Counter(f"{row.kind}/{row.split}" for row in rows), "split"),
        **{
            t.title: dg.MetadataValue.md(markdown_table(t))
            for t in build_split_tables(frame, settings.splits)
        },
        **threshold_metadata(list(given.grades.values())),
        "path": dg.MetadataValue.path(str(lake.rows_path(Stage.FINE_TUNE_SPLITS, batch))),
    }
