"""What of the batches was made under another recipe, said before anything is made again."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from aidsafe_dagster.cli.console import listing, print_paragraph
from aidsafe_dagster.cli.local_runs import not_complete
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.stages import behind, stage_named, stages_in_use
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.settings.snapshot import take_snapshot
from aidsafe_dagster.stages.one_recipe import (
    RecipeChange,
    compare_stages,
    cost_of_remaking,
    is_batch_finished,
    recipe_change,
    unrecorded_stages,
    writes_text,
)

_KEPT = " `aidsafe compare` then shows what changed"
_Change = tuple[str, tuple[str, ...]]
"""What differs, and the stages that it affects."""


def print_recipe_changes(
    instance: dg.DagsterInstance,
    lake: Lake,
    settings: Settings,
    batches: Sequence[str],
    *,
    are_named: bool,
) -> None:
    """Print what differs from the recipe in force, and what it costs to make it again.

    Args:
        instance: knows which stages are complete.
        lake: holds the batches.
        settings: the recipe in force.
        batches: those that the command is about.
        are_named: they are made whole, whatever recipe they are of.
    """
    snapshot = take_snapshot(settings)
    changes: dict[_Change, list[RecipeChange]] = {}
    unrecorded: list[str] = []
    for batch in batches:
        try:
            missing = not_complete(instance, lake, settings, batch)
            is_finished = not are_named and is_batch_finished(missing)
            change = recipe_change(lake, batch, snapshot, is_finished=is_finished)
            is_unrecorded = bool(unrecorded_stages(lake, batch, snapshot))
        except SetupError:
            # A damaged file is made again, and the run says so.
            continue
        if change:
            key = (str(change), change.affected)
            changes.setdefault(key, []).append(change)
        if is_unrecorded and is_finished:
            unrecorded.append(batch)
    for alike in changes.values():
        _print_change(
            alike,
            is_kept=settings.keep_recipe,
            keeps_versions=bool(settings.keep_versions),
        )
    if unrecorded:
        print_paragraph(
            f"{listing(unrecorded)}: an earlier release kept no record of their recipe. "
            f"They are left as they are; `aidsafe backfill {unrecorded[0]}` makes one again."
        )


def recipe_config(settings: Settings) -> dict[str, Any]:
    """Return the configuration by which a run keeps to what the command was told."""
    if not settings.keep_recipe:
        return {}
    overrides = {"keep_recipe": True}
    return {"resources": {"settings": {"config": {"overrides": overrides}}}}


def stages_of_named(lake: Lake, settings: Settings, batch: str) -> tuple[str, ...]:
    """Return the stages to make of a batch that is named: all, or all that may not be kept."""
    if not settings.keep_recipe:
        return stages_in_use(settings)
    kept: set[str] = set()
    for comparison in compare_stages(lake, batch, take_snapshot(settings)):
        stage = comparison.stage
        record = stage_named(stage).record
        # Rows of an early release that nothing can be made of are not worth keeping.
        is_kept = writes_text(stage) and lake.is_readable(stage, batch, record)
        if comparison.changes and is_kept:
            # What a kept stage rests on has to stay as well.
            kept |= {stage, *behind(stage)}
    return tuple(
        stage
        for stage in stages_in_use(settings)
        if stage not in kept or not lake.has(stage, batch)
    )


def _print_change(
    alike: Sequence[RecipeChange], *, is_kept: bool, keeps_versions: bool
) -> None:
    """Print one change of several batches."""
    first = alike[0]
    batches = listing([change.batch for change in alike])
    verb = "was" if len(alike) == 1 else "were"
    print_paragraph(f"{batches} {verb} made under another recipe. {first}.")
    if is_kept:
        print_paragraph("Kept as it is (keep_recipe).", indent=2)
        return
    rows = sum(change.rows for change in alike)
    calls = sum(change.calls for change in alike)
    print_paragraph(
        f"Made again: {', '.join(first.affected)}; {cost_of_remaking(rows, calls)}. "
        f"To leave it as it is: --keep-recipe.{_KEPT if keeps_versions else ''}",
        indent=2,
    )
