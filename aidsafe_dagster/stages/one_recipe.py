"""A batch is made under one recipe: what of it was made under another one, and what that costs.

Each stage of a batch has a record of what its rows were made under (`settings/recipe_parts.py`).
Before a batch goes on, the record is compared with the recipe that is in force. What differs is
made again, unless a person says `keep_recipe`. Then rows, checks and reports show the mix.

This module imports no Dagster, for `aidsafe status`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import polars as pl

from aidsafe_dagster.lake.batch_recipes import read_recipes
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.batch_recipe import (
    OtherRecipe,
    RecipePart,
    StageRecipe,
    describe_changes,
    fingerprint_of,
    shortened,
)
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.recipe.stages import STAGES, behind, stage_named, with_descendants
from aidsafe_dagster.settings.recipe_parts import has_recipe, recipe_parts
from aidsafe_dagster.settings.snapshot import SettingsSnapshot
from aidsafe_dagster.stages.known_lake import KnownLake

_NOT_RECORDED = "what differs is not recorded"
_Parts = dict[tuple[str, str], RecipePart]
_VALUES = ("recipe", "policies_version", "templates_version")
_COLUMNS = ("prompt_id", "usage", *_VALUES)


@dataclass(frozen=True)
class StageComparison:
    """A finished stage of a batch, beside the recipe that is in force."""

    stage: str
    rows: int
    """Rows and failures."""
    calls: int
    """That these took."""
    earlier: tuple[RecipePart, ...] = ()
    present: tuple[RecipePart, ...] = ()
    is_recorded: bool = True
    """An earlier release kept no record."""
    notes: tuple[str, ...] = ()
    """What differs where no parts are recorded: what the rows themselves say."""

    @cached_property
    def changes(self) -> tuple[str, ...]:
        """What differs, in words."""
        return merged_changes([self])

    def is_due(self, *, is_finished: bool) -> bool:
        """Tell whether the stage is to be made again, for being of another recipe.

        A batch that an earlier release finished is left as it is. One that goes on is not mixed,
        as far as its rows say what they were made with.
        """
        return bool(self.changes) and (self.is_recorded or not is_finished)

    @property
    def as_other_recipe(self) -> OtherRecipe:
        return OtherRecipe(stage=self.stage, rows=self.rows, changes=self.changes)


@dataclass(frozen=True)
class RecipeChange:
    """What of a batch was made under another recipe."""

    batch: str
    stages: tuple[str, ...]
    """Those that differ."""
    affected: tuple[str, ...]
    """They, and all finished stages that rest on them."""
    changes: tuple[str, ...]
    rows: int
    """Of the affected stages."""
    calls: int
    """That these took when they were made."""

    @property
    def cost(self) -> str:
        """What it takes to make the affected stages again, in words."""
        return cost_of_remaking(self.rows, self.calls)

    def __str__(self) -> str:
        return f"{', '.join(self.stages)}: {shortened(self.changes)}"


def cost_of_remaking(rows: int, calls: int) -> str:
    """Return in words what it costs to make rows again that took so many calls."""
    return (
        f"up to {rows:,} rows are asked again, which took {calls:,} calls before; "
        "the journal answers all that is asked as before"
    )


def writes_text(stage: str) -> bool:
    """Tell whether a model writes the rows of a stage."""
    return stage_named(stage).dialogue is not None


def is_batch_finished(not_complete: Collection[str]) -> bool:
    """Tell whether all that models write of a batch is complete, given what is not."""
    return not any(writes_text(stage) for stage in not_complete)


def compare_stage(
    lake: Lake, batch: str, stage: str, snapshot: SettingsSnapshot
) -> StageComparison:
    """Compare a finished stage with the recipe in force.

    Raises:
        SetupError: its file is damaged, or policies or templates cannot be read.
    """
    return _compare(lake, read_recipes(lake, batch).get(stage), batch, stage, snapshot)


def compare_stages(
    lake: Lake, batch: str, snapshot: SettingsSnapshot, stages: Iterable[str] = STAGES
) -> list[StageComparison]:
    """Compare those of the stages that are finished and have a recipe.

    Raises:
        SetupError: as `compare_stage`.
    """
    recipes = read_recipes(lake, batch)
    comparisons = []
    for stage in stages:
        # What the settings no longer ask for stays as it is.
        is_asked_for = stage_named(stage).is_on(snapshot.settings)
        if is_asked_for and has_recipe(stage) and lake.has(stage, batch):
            recipe = recipes.get(stage)
            comparisons.append(_compare(lake, recipe, batch, stage, snapshot))
    return comparisons


def recipe_change(
    lake: Lake, batch: str, snapshot: SettingsSnapshot, *, is_finished: bool
) -> RecipeChange | None:
    """Return what of a batch is of another recipe and due to be made again, None if nothing is.

    Args:
        lake: holds the batch.
        batch: its key.
        snapshot: the recipe in force.
        is_finished: all its stages that ask a model are complete.

    Raises:
        SetupError: as `compare_stage`.
    """
    comparisons = compare_stages(lake, batch, snapshot)
    different = [one for one in comparisons if one.is_due(is_finished=is_finished)]
    if not different:
        return None
    due = with_descendants({comparison.stage for comparison in different})
    affected = [one for one in comparisons if one.stage in due]
    return RecipeChange(
        batch=batch,
        stages=tuple(comparison.stage for comparison in different),
        affected=tuple(comparison.stage for comparison in affected),
        changes=merged_changes(different),
        rows=sum(comparison.rows for comparison in affected),
        calls=sum(comparison.calls for comparison in affected),
    )


def unrecorded_stages(
    lake: Lake, batch: str, snapshot: SettingsSnapshot
) -> tuple[StageComparison, ...]:
    """Return the finished stages of a batch whose recipe an earlier release did not record."""
    comparisons = compare_stages(lake, batch, snapshot)
    return tuple(one for one in comparisons if not one.is_recorded)


def other_recipes(
    lake: Lake, batch: str, stage: str, snapshot: SettingsSnapshot
) -> tuple[OtherRecipe, ...]:
    """Return the stages behind a stage that were made under another recipe than it would be now.

    A stage that asks no model has no text of its own, so it only passes on what is mixed behind it.

    Raises:
        SetupError: as `compare_stage`.
    """
    stages = behind(stage)
    if not writes_text(stage):
        return _passed_on(lake, batch, stages)
    others = []
    for comparison in compare_stages(lake, batch, snapshot, stages):
        # What the rows of an earlier release say of themselves counts as well.
        if comparison.changes:
            others.append(comparison.as_other_recipe)
    return tuple(others)


def recipe_record(
    batch: str,
    stage: str,
    snapshot: SettingsSnapshot,
    mixed_with: Sequence[OtherRecipe],
) -> StageRecipe:
    """Return the record of a stage that is made under the recipe in force."""
    parts = recipe_parts(snapshot, stage)
    return StageRecipe(
        batch=batch,
        stage=str(stage),
        fingerprint=fingerprint_of(parts),
        parts=parts,
        mixed_with=tuple(mixed_with),
    )


def describe_mix(others: Sequence[OtherRecipe]) -> str:
    """Return in a line on which stages of another recipe rows rest; empty for none."""
    if not others:
        return ""
    changes: dict[str, None] = {}
    stages = []
    for other in others:
        stages.append(f"{other.stage} ({other.rows:,} rows)")
        changes |= dict.fromkeys(other.changes)
    return (
        f"Mixed recipe: rests on {', '.join(stages)} of another recipe; "
        f"since then: {shortened(tuple(changes))}"
    )


def merged_changes(comparisons: Sequence[StageComparison]) -> tuple[str, ...]:
    """Return what differs at several stages, each change once, with all whom it concerns."""
    earlier: _Parts = {}
    present: _Parts = {}
    is_consistent = True
    for comparison in comparisons:
        is_consistent &= _add_parts(earlier, comparison.earlier)
        _add_parts(present, comparison.present)
    lines: dict[str, None] = {}
    if is_consistent:
        lines |= dict.fromkeys(describe_changes(earlier.values(), present.values()))
    for comparison in comparisons:
        # Stages that were made under several recipes have each changes of their own.
        if not is_consistent:
            own = describe_changes(comparison.earlier, comparison.present)
            lines |= dict.fromkeys(own)
        lines |= dict.fromkeys(comparison.notes)
    return tuple(lines)


def _passed_on(
    lake: Lake, batch: str, stages: Iterable[str]
) -> tuple[OtherRecipe, ...]:
    recipes = read_recipes(lake, batch)
    others: dict[str, OtherRecipe] = {}
    for stage in stages:
        recipe = recipes.get(stage)
        for other in recipe.mixed_with if recipe else ():
            others[other.stage] = other
    return tuple(others.values())


def _compare(
    lake: Lake,
    recipe: StageRecipe | None,
    batch: str,
    stage: str,
    snapshot: SettingsSnapshot,
) -> StageComparison:
    rows = _stage_rows(lake, stage, batch)
    comparison = StageComparison(
        stage=str(stage), rows=rows.passed + rows.failed, calls=rows.calls
    )
    fingerprints = rows.named("recipe")
    # The rows of splits carry the fingerprint of the stage that wrote them.
    if stage == Stage.FINE_TUNE_SPLITS or not rows.passed:
        fingerprints = {recipe.fingerprint} if recipe else set()
    if not fingerprints:
        notes = _changed_versions(rows, stage, snapshot)
        return replace(comparison, is_recorded=False, notes=notes)
    present = _in_force(lake, stage, snapshot)
    # Nothing differs; also after a kill between the rows and their record, or a damaged record.
    if fingerprints == {present.fingerprint}:
        return comparison
    if recipe and fingerprints == {recipe.fingerprint}:
        return replace(comparison, earlier=recipe.parts, present=present.parts)
    return replace(comparison, notes=(_NOT_RECORDED,))


def _add_parts(parts: _Parts, more: Iterable[RecipePart]) -> bool:
    """Add parts to others; tell whether none of them says something else."""
    is_consistent = True
    for part in more:
        known = parts.setdefault((part.name, part.of), part)
        is_consistent = is_consistent and known.value == part.value
    return is_consistent


def _in_force(lake: Lake, stage: str, snapshot: SettingsSnapshot) -> StageRecipe:
    """Return the recipe under which the stage would be made now."""

    def make() -> StageRecipe:
        return recipe_record("", stage, snapshot, ())

    if isinstance(lake, KnownLake):
        return lake.remember("recipe", stage, snapshot, make)
    return make()


@dataclass(frozen=True)
class _StageRows:
    """What the rows of a stage and batch say of themselves."""

    passed: int
    failed: int
    calls: int
    values: Mapping[str, Sequence[str]]

    def named(self, column: str) -> set[str]:
        """Return the recipes or versions that the rows name."""
        return set(self.values.get(column, ())) - {""}


def _stage_rows(lake: Lake, stage: str, batch: str) -> _StageRows:
    if isinstance(lake, KnownLake):
        facts = lake.facts(stage, batch)
        calls = int(facts.usage.get("calls", 0))
        return _StageRows(facts.rows, facts.failures, calls, facts.values)
    rows = lake.rows(stage, batch, _COLUMNS)
    failures = lake.failures(stage, batch)
    values = {}
    for name in _VALUES:
        if name in rows.columns:
            values[name] = rows[name].drop_nulls().unique().to_list()
    calls = _calls(rows) + _calls(failures)
    return _StageRows(rows.height, failures.height, calls, values)


def _changed_versions(
    rows: _StageRows, stage: str, snapshot: SettingsSnapshot
) -> tuple[str, ...]:
    """Return what the rows of an earlier release themselves say; empty if nothing differs."""
    if not writes_text(stage):
        return ()
    changes = []
    if rows.named("policies_version") - {snapshot.policies.version}:
        changes.append("policies changed")
    if rows.named("templates_version") - {snapshot.templates.version(stage)}:
        changes.append(f"templates of {stage} changed")
    return tuple(changes)


def _calls(rows: pl.DataFrame) -> int:
    if "usage" not in rows.columns or not rows.height:
        return 0
    return int(rows["usage"].struct.field("calls").sum())
