"""Jobs: a batch through the recipe, the reports, and an ablation each."""

from typing import Any

import dagster as dg

from aidsafe_dagster.assets.ablations import (
    ablation_baseline,
    ablation_context,
    ablation_models,
    ablation_refiner,
    ablation_round_table,
    ablation_rounds,
)
from aidsafe_dagster.assets.target_ablation import ablation_targets
from aidsafe_dagster.recipe.stages import STAGES
from aidsafe_dagster.stages.gate_summary import EVERY_BATCH

REQUESTS_PER_TICK = 10
"""Runs that a sensor requests at a time. A tick that starts dozens would last for minutes."""

# Stages that were added to the table before this module is imported are part of the job.
_STAGE_ASSETS = [dg.AssetKey(str(stage)) for stage in STAGES]
# The checks of a batch bring these up to date.
_SUMMARIES = [dg.AssetCheckKey(key, EVERY_BATCH) for key in _STAGE_ASSETS]

make_batch = dg.define_asset_job(
    "make_batch",
    selection=dg.AssetSelection.assets(*_STAGE_ASSETS)
    - dg.AssetSelection.checks(*_SUMMARIES),
    description="Takes one batch of prompts through every stage and every gate of the recipe",
)

build_reports = dg.define_asset_job(
    "build_reports",
    selection=dg.AssetSelection.groups("reports"),
    description="Builds the warehouse and the reports on the whole dataset",
)

ABLATIONS = (
    ablation_rounds,
    ablation_refiner,
    ablation_baseline,
    ablation_round_table,
    ablation_models,
    ablation_targets,
    ablation_context,
)


def _ablation_job(ablation: dg.AssetsDefinition) -> Any:
    description = ablation.descriptions_by_key[ablation.key] or ""
    summary = description.splitlines()[0]
    # Dagster refuses a job with the name of an asset, so the job is a verb.
    name = ablation.key.to_user_string().replace("ablation_", "ablate_")
    return dg.define_asset_job(
        name,
        selection=dg.AssetSelection.assets(ablation),
        description=f"On a sample of prompts: {summary}",
    )


ablation_jobs = [_ablation_job(ablation) for ablation in ABLATIONS]
