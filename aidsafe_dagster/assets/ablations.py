"""The ablation assets: unpartitioned, made by a job with a sample size; nothing makes them by
itself.
"""

from collections.abc import Callable
from typing import Any

import dagster as dg
from pydantic import Field

from aidsafe_dagster.recipe.ablations import Variant
from aidsafe_dagster.recipe.deliberated_cots import DeliberationSettings
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.reports.frames import open_dataset
from aidsafe_dagster.resources.engine import EngineResource
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.stages.ablation import (
    AS_CONFIGURED,
    AblationConfig,
    PlannedVariant,
    run_ablation,
)
from aidsafe_dagster.stages.materialization import Materialized
from aidsafe_dagster.stages.metadata import record_table
from aidsafe_dagster.stages.planted_truth import planted_truth
from aidsafe_dagster.stages.roles import engine_with_roles
from aidsafe_dagster.stages.stage_asset import OWNERS

GROUP = "ablations"


class RoundTableConfig(AblationConfig):
    agents: list[int] = Field(default=[2, 3], description="sizes of the round tables")


class ModelsConfig(AblationConfig):
    variants: dict[str, dict[str, dict[str, str]]] = Field(
        default={},
        description="per variant the roles that another model answers, as in the settings: "
        '{"small deliberators": {"deliberator": {"model": "…"}}}',
    )


def ablation(function: Callable[..., Any]) -> dg.AssetsDefinition:
    """Return the asset of an ablation."""
    graded = dg.AssetKey(str(Stage.COT_GRADES))
    decorate = dg.asset(group_name=GROUP, kinds={"llm"}, owners=OWNERS, deps=[graded])
    return decorate(function)


@ablation
def ablation_rounds(
    context: dg.AssetExecutionContext,
    config: AblationConfig,
    engine: EngineResource,
    lake: LakeResource,
) -> Materialized:
    """Deliberation cut off after 0, 1, 2, … rounds.

    Earlier rounds are replayed from the journal, not asked again.
    """
    deliberation = engine.snapshot.settings.deliberation
    plan = []
    for rounds in range(deliberation.max_rounds + 1):
        name = "1 round" if rounds == 1 else f"{rounds} rounds"
        # Cut off, not configured with fewer rounds: the requests of the rounds stay the same, and
        # the journal answers them.
        variant = Variant(name, deliberation, stop_after=rounds)
        plan.append(PlannedVariant(variant))
    return run_ablation(context, config, engine, lake, plan)


@ablation
def ablation_refiner(
    context: dg.AssetExecutionContext,
    config: AblationConfig,
    engine: EngineResource,
    lake: LakeResource,
) -> Materialized:
    """With and without the refiner: tokens saved against quality lost.

    In a rehearsal, also which planted thoughts it removed, and which sound ones.
    """
    settings = engine.snapshot.settings
    unrefined = Variant("without refiner", settings.deliberation, refined=False)
    refined = Variant("with refiner", settings.deliberation)
    plan = [PlannedVariant(unrefined), PlannedVariant(refined)]
    lines = planted_truth(open_dataset(lake.open()), settings)
    verdicts = [line for line in lines if str(line["what"]).startswith("refiner")]
    # Only a rehearsal knows what was planted, so a model's rows have no such table.
    extra = {}
    if verdicts:
        extra["verdicts_on_planted_thoughts"] = record_table(verdicts)
    return run_ablation(context, config, engine, lake, plan, extra)


@ablation
def ablation_baseline(
    context: dg.AssetExecutionContext,
    config: AblationConfig,
    engine: EngineResource,
    lake: LakeResource,
) -> Materialized:
    """One call of one model against deliberation and refinement."""
    deliberation = engine.snapshot.settings.deliberation
    plan = [
        PlannedVariant(Variant("single LLM", single=True)),
        PlannedVariant(Variant("deliberated and refined", deliberation)),
    ]
    return run_ablation(context, config, engine, lake, plan)


@ablation
def ablation_round_table(
    context: dg.AssetExecutionContext,
    config: RoundTableConfig,
    engine: EngineResource,
    lake: LakeResource,
) -> Materialized:
    """Two agents in turn against round tables of N agents.

    At a round table all agents see the same state, a moderator merges their opinions, and only the
    agreement of all is a consensus.
    """
    configured = engine.snapshot.settings.deliberation
    # The reference is agents in turn, also where the settings name the round table.
    in_turn = configured.model_copy(update={"style": "in_turn"})
    reference = Variant(f"{in_turn.agents} in turn", in_turn)
    plan = [PlannedVariant(reference)]
    for agents in config.agents:
        changes = {"style": "round_table", "agents": agents}
        # Not `model_copy`, which would take a number of agents that the settings refuse.
        deliberation = DeliberationSettings.model_validate(
            configured.model_dump() | changes
        )
        variant = Variant(f"round table of {agents}", deliberation)
        plan.append(PlannedVariant(variant))
    return run_ablation(context, config, engine, lake, plan)


@ablation
def ablation_models(
    context: dg.AssetExecutionContext,
    config: ModelsConfig,
    engine: EngineResource,
    lake: LakeResource,
    settings: SettingsResource,
) -> Materialized:
    """The configured models against others for some roles; the judges stay the same.

    Raises:
        SetupError: no variant is given.
    """
    if not config.variants:
        raise SetupError(
            "ablation_models: name at least one variant in the run's configuration, such as "
            'variants: {"small deliberators": {"deliberator": {"model": "…"}}}'
        )
    deliberation = engine.snapshot.settings.deliberation
    plan = [PlannedVariant(Variant(AS_CONFIGURED, deliberation))]
    for name, roles in config.variants.items():
        variant_engine = engine_with_roles(engine, settings, roles)
        plan.append(PlannedVariant(Variant(name, deliberation), variant_engine))
    return run_ablation(context, config, engine, lake, plan)
