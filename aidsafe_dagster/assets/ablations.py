"""The assets of the experiments: unpartitioned, made by a job or by `aidsafe ablate`; nothing makes
them by itself.
"""

from collections.abc import Callable
from typing import Any

import dagster as dg

from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.reports.frames import open_dataset
from aidsafe_dagster.resources.engine import EngineResource
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.stages.ablation import run_variants, start_ablation
from aidsafe_dagster.stages.ablation_plans import (
    AblationConfig,
    ModelsConfig,
    RoundTableConfig,
)
from aidsafe_dagster.stages.materialization import Materialized
from aidsafe_dagster.stages.metadata import record_table
from aidsafe_dagster.stages.planted_truth import planted_truth
from aidsafe_dagster.stages.stage_asset import OWNERS

GROUP = "ablations"


def ablation(function: Callable[..., Any]) -> dg.AssetsDefinition:
    """Return the asset of an experiment."""
    graded = dg.AssetKey(str(Stage.COT_GRADES))
    decorate = dg.asset(group_name=GROUP, kinds={"llm"}, owners=OWNERS, deps=[graded])
    return decorate(function)


@ablation
def ablation_rounds(
    context: dg.AssetExecutionContext,
    config: AblationConfig,
    engine: EngineResource,
    lake: LakeResource,
    settings: SettingsResource,
) -> Materialized:
    """Deliberation cut off after 0, 1, 2, … rounds.

    Earlier rounds are replayed from the journal, not asked again.
    """
    run = start_ablation(context, config, engine, lake, settings)
    return run_variants(run, config)


@ablation
def ablation_refiner(
    context: dg.AssetExecutionContext,
    config: AblationConfig,
    engine: EngineResource,
    lake: LakeResource,
    settings: SettingsResource,
) -> Materialized:
    """With and without the refiner: tokens saved against quality lost.

    In a rehearsal, also which planted thoughts it removed, and which sound ones.
    """
    run = start_ablation(context, config, engine, lake, settings)
    in_force = run.snapshot.settings
    lines = planted_truth(open_dataset(run.lake), in_force)
    verdicts = [line for line in lines if str(line["what"]).startswith("refiner")]
    # Only a rehearsal knows what was planted, so a model's rows have no such table.
    extra = {}
    if verdicts:
        extra["verdicts_on_planted_thoughts"] = record_table(verdicts)
    return run_variants(run, config, extra)


@ablation
def ablation_baseline(
    context: dg.AssetExecutionContext,
    config: AblationConfig,
    engine: EngineResource,
    lake: LakeResource,
    settings: SettingsResource,
) -> Materialized:
    """One call of one model against deliberation and refinement."""
    run = start_ablation(context, config, engine, lake, settings)
    return run_variants(run, config)


@ablation
def ablation_round_table(
    context: dg.AssetExecutionContext,
    config: RoundTableConfig,
    engine: EngineResource,
    lake: LakeResource,
    settings: SettingsResource,
) -> Materialized:
    """Two agents in turn against round tables of N agents.

    At a round table all agents see the same state, a moderator merges their opinions, and only the
    agreement of all is a consensus.
    """
    run = start_ablation(context, config, engine, lake, settings)
    return run_variants(run, config)


@ablation
def ablation_models(
    context: dg.AssetExecutionContext,
    config: ModelsConfig,
    engine: EngineResource,
    lake: LakeResource,
    settings: SettingsResource,
) -> Materialized:
    """The configured models against others for some roles, mixed pairs included.

    The judges stay the same.
    """
    run = start_ablation(context, config, engine, lake, settings)
    return run_variants(run, config)


@ablation
def ablation_context(
    context: dg.AssetExecutionContext,
    config: AblationConfig,
    engine: EngineResource,
    lake: LakeResource,
    settings: SettingsResource,
) -> Materialized:
    """Agents that are shown the state of the row, against agents that are shown the whole chat."""
    run = start_ablation(context, config, engine, lake, settings)
    return run_variants(run, config)
