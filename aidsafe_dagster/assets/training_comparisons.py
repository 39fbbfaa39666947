"""Assets `comparison_training` and `comparison_over_refusal`: trainings side by side.

Both train, serve and ask in one run, and keep each comparison beside the others.
"""

from typing import Any

import dagster as dg
from pydantic import Field

from aidsafe_dagster.assets.ablations import GROUP
from aidsafe_dagster.evaluation.arm_report import arm_section, simulation_note
from aidsafe_dagster.evaluation.arms import ComparedArms
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.reports.markdown import section_markdown
from aidsafe_dagster.resources.engine import EngineResource
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.stages.arms import (
    DEFAULT_SHARES,
    ArmConfig,
    answers_path,
    compare_arms,
    plan_over_refusal,
    plan_table_2,
    read_inputs,
)
from aidsafe_dagster.stages.materialization import Materialized, materialized
from aidsafe_dagster.stages.stage_asset import OWNERS

_SPLITS = dg.AssetKey(str(Stage.FINE_TUNE_SPLITS))


class OverRefusalConfig(ArmConfig):
    shares: list[float] = Field(
        default=list(DEFAULT_SHARES),
        description="shares of needless-refusal pairs among the pairs of DPO, from 0 to 1",
    )


@dg.asset(deps=[_SPLITS], group_name=GROUP, kinds={"llm", "pytorch"}, owners=OWNERS)
def comparison_training(
    context: dg.AssetExecutionContext,
    config: ArmConfig,
    engine: EngineResource,
    lake: LakeResource,
    settings: SettingsResource,
) -> Materialized:
    """The paper's Table 2: base, SFT on other answers, SFT on ours, and ours with DPO.

    The other answers are the sources' own and those of a single LLM.
    """
    inputs = read_inputs(context.instance, lake.open(), engine.snapshot.settings)
    plan = plan_table_2(inputs)
    compared = compare_arms(context, plan, inputs, engine, settings, config.sample)
    return _materialized(engine, compared)


@dg.asset(deps=[_SPLITS], group_name=GROUP, kinds={"llm", "pytorch"}, owners=OWNERS)
def comparison_over_refusal(
    context: dg.AssetExecutionContext,
    config: OverRefusalConfig,
    engine: EngineResource,
    lake: LakeResource,
    settings: SettingsResource,
) -> Materialized:
    """DPO at several shares of needless-refusal pairs: does the model refuse less needlessly?"""
    inputs = read_inputs(context.instance, lake.open(), engine.snapshot.settings)
    plan = plan_over_refusal(inputs, config.shares)
    compared = compare_arms(context, plan, inputs, engine, settings, config.sample)
    return _materialized(engine, compared)


COMPARISONS = (comparison_training, comparison_over_refusal)
compare_trainings = dg.define_asset_job(
    "ablate_training",
    selection=dg.AssetSelection.assets(comparison_training),
    description="Trains every arm of the paper's Table 2 and asks all of them its benchmarks",
)
compare_over_refusal = dg.define_asset_job(
    "ablate_over_refusal",
    selection=dg.AssetSelection.assets(comparison_over_refusal),
    description="Trains DPO at several shares of needless-refusal pairs and asks XSTest and safety "
    "benchmarks",
)


def _materialized(engine: EngineResource, compared: ComparedArms) -> Materialized:
    snapshot = engine.snapshot
    comparison = compared.comparison
    note = simulation_note(comparison)
    page = snapshot.settings.reports / "experiments" / f"{comparison.name}.html"
    metadata: dict[str, Any] = {
        "comparison": comparison.name,
        "results": dg.MetadataValue.md(section_markdown(arm_section(compared))),
        "html": dg.MetadataValue.path(str(page)),
        "path": dg.MetadataValue.path(
            str(answers_path(snapshot.settings.home, comparison))
        ),
        "answers": len(compared.answers),
        "arms_missing": sum(bool(arm.missing) for arm in comparison.arms),
        "training_seconds": sum(arm.training_s for arm in comparison.arms),
    }
    return materialized(snapshot, metadata, simulated=bool(note), label=f"**{note}**")
