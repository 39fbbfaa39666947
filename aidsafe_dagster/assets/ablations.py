"""Ablations: an asset each, unpartitioned, made by a job with a sample size; nothing makes them by itself.

Variants run one after another, so that what a variant shares with the pipeline, or with the variant before it, is in
the journal by the time it is needed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
from pydantic import Field

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import from_frame
from aidsafe_dagster.recipe.ablations import Redraws, Variant, run_variant
from aidsafe_dagster.recipe.deliberated_cots import DeliberationSettings
from aidsafe_dagster.recipe.dialogue import Conversation, DialogueContext, DialogueTask
from aidsafe_dagster.recipe.errors import SetupError, unknown
from aidsafe_dagster.recipe.hash_draw import hash_rank
from aidsafe_dagster.recipe.records import Prompt, Stage
from aidsafe_dagster.reports.frames import open_dataset
from aidsafe_dagster.resources.engine import EngineResource
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.stages.ablation_metadata import VariantRun, ablation_metadata, store, table_of
from aidsafe_dagster.stages.planted_truth import planted_truth
from aidsafe_dagster.stages.progress_log import ProgressLog
from aidsafe_dagster.stages.stage_asset import OWNERS

GROUP = "ablations"
AS_CONFIGURED = "as configured"


class AblationConfig(dg.Config):
    sample: int = Field(
        default=50,
        ge=1,
        description="prompts to take: the same ones every time, and in every ablation",
    )
    batches: list[str] = Field(
        default=[], description="batches to take them from; empty: all with refined CoTs"
    )


class RoundTableConfig(AblationConfig):
    agents: list[int] = Field(default=[2, 3], description="sizes of the round tables")


class ModelsConfig(AblationConfig):
    variants: dict[str, dict[str, dict[str, str]]] = Field(
        default={},
        description="per variant the roles that another model answers, as in the settings: "
        '{"small deliberators": {"deliberator": {"model": "…"}}}',
    )


@dataclass(frozen=True)
class Planned:
    """A variant, and the engine that answers it where it is not the run's own."""

    variant: Variant
    engine: EngineResource | None = None


def _ablation(
    context: dg.AssetExecutionContext,
    config: AblationConfig,
    engine: EngineResource,
    lake: LakeResource,
    planned: Sequence[Planned],
) -> dg.MaterializeResult[Any]:
    """Runs the variants on the same sample; the first is what the others are measured against."""
    opened, settings = lake.open(), engine.load()
    sample = sample_of(opened, config)
    redraws = {
        prompt.prompt_id: found
        for prompt, found in zip(sample, _redraws(opened, sample), strict=True)
    }
    runs = [
        _run(context, plan.engine or engine, plan.variant, sample, redraws, settings)
        for plan in planned
    ]
    name = context.asset_key.to_user_string()
    path = store(settings.home / "reports", name, runs)
    return dg.MaterializeResult(metadata=ablation_metadata(runs, path))


def _run(
    context: dg.AssetExecutionContext,
    engine: EngineResource,
    variant: Variant,
    sample: Sequence[Prompt],
    redraws: Mapping[str, Redraws],
    settings: Settings,
) -> VariantRun:
    dialogue_context: DialogueContext = engine.dialogue_context()
    cases = [
        DialogueTask(
            Conversation(dialogue_context, Stage.COT_GRADES, prompt),
            run_variant(
                dialogue_context, prompt, variant, redraws[prompt.prompt_id], settings.grading
            ),
        )
        for prompt in sample
    ]
    told = ProgressLog(context.log, variant.name, f"{len(sample)} prompts")
    results, progress = engine.drive(cases, told, context.log.info)
    context.log.info(told.line(progress))
    return VariantRun(variant.name, results, progress)


def sample_of(lake: Lake, config: AblationConfig) -> list[Prompt]:
    """Prompts that came through to a refined CoT, by the hash of their ids: a larger sample holds the smaller one.

    Raises:
        SetupError: there is no such batch, or nothing was made yet.
    """
    made = lake.batches(Stage.REFINED_COTS)
    if missing := sorted(set(config.batches) - set(made)):
        raise unknown("batch", missing[0], made, "ablation")
    prompts: list[Prompt] = []
    for batch in config.batches or made:
        refined = set(lake.rows(Stage.REFINED_COTS, batch)["prompt_id"])
        prompts += [
            p for p in from_frame(lake.rows(Stage.PROMPTS, batch), Prompt) if p.prompt_id in refined
        ]
    if not prompts:
        raise SetupError(
            f"{lake.root}: no refined CoTs yet to take a sample from; make a batch first"
        )
    return sorted(prompts, key=_sampling_rank)[: config.sample]


def _sampling_rank(prompt: Prompt) -> int:
    return hash_rank("ablation", prompt.prompt_id)


def _redraws(lake: Lake, sample: Sequence[Prompt]) -> list[Redraws]:
    """Where the pipeline drew anew, so that a variant asks what the pipeline asked."""
    stages = (
        Stage.SINGLE_LLM_COTS,
        Stage.SEED_COTS,
        Stage.DELIBERATED_COTS,
        Stage.REFINED_COTS,
        Stage.COT_GRADES,
    )
    by_prompt: dict[str, dict[Stage, tuple[int, ...]]] = {prompt.prompt_id: {} for prompt in sample}
    for stage in stages:
        for batch in sorted({prompt.batch for prompt in sample} & set(lake.batches(stage))):
            for prompt_id, turns in (
                lake.rows(stage, batch).select("prompt_id", "redraws").iter_rows()
            ):
                if prompt_id in by_prompt:
                    by_prompt[prompt_id][stage] = tuple(turns)
    return [Redraws(by_prompt[prompt.prompt_id]) for prompt in sample]


def ablation(function: Callable[..., Any]) -> dg.AssetsDefinition:
    return dg.asset(
        group_name=GROUP, kinds={"llm"}, owners=OWNERS, deps=[dg.AssetKey(str(Stage.COT_GRADES))]
    )(function)


@ablation
def ablation_rounds(
    context: dg.AssetExecutionContext,
    config: AblationConfig,
    engine: EngineResource,
    lake: LakeResource,
) -> dg.MaterializeResult[Any]:
    """Deliberation cut off after 0, 1, 2, … rounds. Earlier rounds are replayed from the journal, not asked again."""
    deliberation = engine.load().deliberation
    rounds = range(deliberation.max_rounds + 1)
    variants = [
        Variant(f"{k} round{'' if k == 1 else 's'}", deliberation, stop_after=k) for k in rounds
    ]
    return _ablation(context, config, engine, lake, [Planned(variant) for variant in variants])


@ablation
def ablation_refiner(
    context: dg.AssetExecutionContext,
    config: AblationConfig,
    engine: EngineResource,
    lake: LakeResource,
) -> dg.MaterializeResult[Any]:
    """With and without the refiner: tokens saved against quality lost; in a rehearsal, what it removed falsely."""
    settings = engine.load()
    deliberation = settings.deliberation
    variants = [
        Variant("without refiner", deliberation, refined=False),
        Variant("with refiner", deliberation),
    ]
    measured = _ablation(context, config, engine, lake, [Planned(variant) for variant in variants])
    planted = planted_truth(open_dataset(lake.open()), settings)
    verdicts = [line for line in planted if str(line["what"]).startswith("refiner")]
    found = {"verdicts_on_planted_thoughts": table_of(verdicts)} if verdicts else {}
    return dg.MaterializeResult(metadata={**(measured.metadata or {}), **found})


@ablation
def ablation_deliberation(
    context: dg.AssetExecutionContext,
    config: AblationConfig,
    engine: EngineResource,
    lake: LakeResource,
) -> dg.MaterializeResult[Any]:
    """One call of one model against deliberation and refinement."""
    deliberation = engine.load().deliberation
    variants = [
        Variant("single LLM", single=True),
        Variant("deliberated and refined", deliberation),
    ]
    return _ablation(context, config, engine, lake, [Planned(variant) for variant in variants])


@ablation
def ablation_round_table(
    context: dg.AssetExecutionContext,
    config: RoundTableConfig,
    engine: EngineResource,
    lake: LakeResource,
) -> dg.MaterializeResult[Any]:
    """Two agents in turn against round tables of N agents: opinions on the same state, a merge, consensus of all."""
    settled = engine.load().deliberation
    in_turn = settled.model_copy(update={"style": "in_turn"})
    tables = [
        DeliberationSettings(style="round_table", agents=n, max_rounds=settled.max_rounds)
        for n in config.agents
    ]
    variants = [
        Variant(f"{in_turn.agents} in turn", in_turn),
        *(Variant(f"round table of {table.agents}", table) for table in tables),
    ]
    return _ablation(context, config, engine, lake, [Planned(variant) for variant in variants])


@ablation
def ablation_models(
    context: dg.AssetExecutionContext,
    config: ModelsConfig,
    engine: EngineResource,
    lake: LakeResource,
    settings: SettingsResource,
) -> dg.MaterializeResult[Any]:
    """The configured models against others for some roles; the judges stay the same.

    Raises:
        SetupError: no variant is given.
    """
    if not config.variants:
        raise SetupError(
            "ablation_models: name at least one variant in the run's configuration, such as "
            'variants: {"small deliberators": {"deliberator": {"model": "…"}}}'
        )
    deliberation = engine.load().deliberation
    planned = [Planned(Variant(AS_CONFIGURED, deliberation))]
    planned += [
        Planned(Variant(name, deliberation), with_roles(engine, settings, roles))
        for name, roles in config.variants.items()
    ]
    return _ablation(context, config, engine, lake, planned)


def with_roles(
    engine: EngineResource, settings: SettingsResource, roles: Mapping[str, Any]
) -> EngineResource:
    """An engine whose roles are answered by other models.

    Raises:
        SetupError: a role or a key of one does not exist.
    """
    settled: dict[str, Any] = dict(settings.overrides)
    overridden = SettingsResource(
        overrides=settled | {"roles": {**settled.get("roles", {}), **roles}}
    )
    overridden.load()
    return EngineResource(settings=overridden, vllm=engine.vllm)
