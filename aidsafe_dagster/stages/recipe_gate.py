"""No stage is made on top of stages of another recipe, unless a person says so.

A run of some stages alone, a resumed run, or one that Dagster retries finds the earlier stages as
they were made. If that was under another recipe, the step stops and names what differs; the command
line and the recovery make those stages again first. With `keep_recipe` it goes on, and its rows
carry the stages that they are mixed with.
"""

from typing import Any, TypeVar

import dagster as dg

from aidsafe_dagster.lake.kept_versions import keep_version
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.policy_texts import store_policies
from aidsafe_dagster.lake.template_texts import store_templates
from aidsafe_dagster.recipe.batch_recipe import StageRecipe, shortened
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Record
from aidsafe_dagster.recipe.stages import stage_named
from aidsafe_dagster.settings.snapshot import SettingsSnapshot
from aidsafe_dagster.stages.metadata import record_table
from aidsafe_dagster.stages.one_recipe import (
    compare_stage,
    compare_stages,
    cost_of_remaking,
    describe_mix,
    merged_changes,
    other_recipes,
    recipe_record,
    writes_text,
)

OTHER_RECIPE_TAG = "aidsafe/other_recipe"
"""On a run that stopped since the stages before it were made under another recipe."""
R = TypeVar("R", bound=Record)


def begin_recipe(
    context: dg.AssetExecutionContext,
    lake: Lake,
    stage: str,
    snapshot: SettingsSnapshot,
) -> StageRecipe:
    """Return what the rows of a batch are about to be made under, and say what has changed.

    Where something has, the batch is kept as it was, for comparisons.

    Raises:
        dagster.Failure: a stage before this one was made under another recipe.
        SetupError: a file of these stages is damaged.
    """
    batch = context.partition_key
    others = other_recipes(lake, batch, stage, snapshot)
    mix = describe_mix(others)
    # Splits write no text, and so cannot mix anything that is not mixed before them.
    if others and stage_named(stage).dialogue is not None:
        if not snapshot.settings.keep_recipe:
            _stop(context, stage, [other.stage for other in others], mix)
        context.log.warning(mix)
    _note_change(context, lake, stage, snapshot)
    if writes_text(stage):
        store_policies(lake, snapshot.policies)
        if snapshot.second_policies:
            store_policies(lake, snapshot.second_policies)
        store_templates(lake, snapshot.templates, stage)
    return recipe_record(batch, stage, snapshot, others)


def with_recipe(row: R, recipe: StageRecipe) -> R:
    """Return a row that says under which recipe it was made, and on which others it rests."""
    # A row of a stage that was added from outside may lack these columns.
    if "recipe" not in type(row).model_fields:
        return row
    mixed_with = tuple(other.stage for other in recipe.mixed_with)
    changes = {"recipe": recipe.fingerprint, "mixed_with": mixed_with}
    return row.model_copy(update=changes)


def recipe_metadata(recipe: StageRecipe) -> dict[str, Any]:
    """The fingerprint of the recipe, and what of other recipes the rows rest on."""
    metadata: dict[str, Any] = {"recipe": recipe.fingerprint}
    if recipe.mixed_with:
        lines = []
        for other in recipe.mixed_with:
            changes = "; ".join(other.changes)
            line = {"stage": other.stage, "rows": other.rows, "changes": changes}
            lines.append(line)
        metadata["mixed_recipe"] = record_table(lines)
    return metadata


def _stop(
    context: dg.AssetExecutionContext, stage: str, others: list[str], mix: str
) -> None:
    run_id = context.run.run_id
    # A retry takes over the tags of its run, so the value says whose tag it is.
    context.instance.add_run_tags(run_id, {OTHER_RECIPE_TAG: run_id})
    raise dg.Failure(
        description=f"{stage} would not be of one recipe. {mix}. "
        f"Make these stages as well ({', '.join(others)}; `aidsafe backfill` does), "
        "or set keep_recipe: true among the overrides of the resource `settings` "
        "in this run's configuration (`aidsafe backfill --keep-recipe`).",
        # Another attempt would find the same stages.
        allow_retries=False,
    )


def _note_change(
    context: dg.AssetExecutionContext,
    lake: Lake,
    stage: str,
    snapshot: SettingsSnapshot,
) -> None:
    """Keep a stage that is replaced by one of another recipe, and say so in the run's log."""
    batch = context.partition_key
    if not lake.has(stage, batch):
        return
    try:
        earlier = compare_stage(lake, batch, stage, snapshot)
        if earlier.is_recorded and not earlier.changes:
            return
        changes = merged_changes(compare_stages(lake, batch, snapshot))
    except SetupError:
        # A damaged partition is made again anyway.
        return
    if earlier.changes:
        context.log.warning(
            f"{stage} was made under another recipe and is made again: "
            f"{shortened(earlier.changes)}. "
            f"Cost: {cost_of_remaking(earlier.rows, earlier.calls)}."
        )
    kept = keep_version(
        lake,
        batch,
        stage,
        changes=changes,
        currency=snapshot.settings.currency,
        limit=snapshot.settings.keep_versions,
    )
    if kept:
        context.log.info(f"The batch as it was is kept as version {kept.name}.")
