"""What of the batches was made under another recipe, said before anything is made again."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from aidsafe_dagster.cli.console import print_plain
from aidsafe_dagster.cli.local_runs import not_complete
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.stages import STAGES, behind
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.settings.snapshot import SettingsSnapshot, take_snapshot
from aidsafe_dagster.stages.one_recipe import (
    compare_stages,
    is_batch_finished,
    recipe_change,
    unrecorded_stages,
    writes_text,
)


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
    for batch in batches:
        try:
            missing = not_complete(instance, lake, batch)
            lines = _lines(
                lake,
                batch,
                snapshot,
                is_finished=not are_named and is_batch_finished(missing),
            )
        except SetupError:
            # A damaged file is made again, and the run says so.
            continue
        for line in lines:
            print_plain(line)


def recipe_config(settings: Settings) -> dict[str, Any]:
    """Return the configuration by which a run keeps to what the command was told."""
    if not settings.keep_recipe:
        return {}
    overrides = {"keep_recipe": True}
    return {"resources": {"settings": {"config": {"overrides": overrides}}}}


def stages_of_named(lake: Lake, settings: Settings, batch: str) -> tuple[str, ...]:
    """Return the stages to make of a batch that is named: all, or all that may not be kept."""
    if not settings.keep_recipe:
        return tuple(STAGES)
    kept: set[str] = set()
    for comparison in compare_stages(lake, batch, take_snapshot(settings)):
        if comparison.changes and writes_text(comparison.stage):
            # What a kept stage rests on has to stay as well.
            kept |= {comparison.stage, *behind(comparison.stage)}
    return tuple(stage for stage in STAGES if stage not in kept)


def _lines(
    lake: Lake, batch: str, snapshot: SettingsSnapshot, *, is_finished: bool
) -> list[str]:
    lines = []
    change = recipe_change(lake, batch, snapshot, is_finished=is_finished)
    if change:
        lines.append(f"{batch} was made under another recipe. {change}.")
        if snapshot.settings.keep_recipe:
            lines.append("  Kept as it is (keep_recipe).")
        else:
            lines.append(
                f"  Made again: {', '.join(change.affected)}; {change.cost}. "
                "To leave it as it is: --keep-recipe"
            )
    unrecorded = unrecorded_stages(lake, batch, snapshot)
    if unrecorded and is_finished:
        stages = ", ".join(one.stage for one in unrecorded)
        lines.append(
            f"{batch}: an earlier release kept no record of its recipe ({stages}). "
            f"It is left as it is; `aidsafe backfill {batch}` makes it again."
        )
    return lines
