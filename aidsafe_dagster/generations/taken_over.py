"""What a generation takes over from the one before, so that only what is new is asked.

The prompts are the same: sealed batches are copied as they are. Rows of a stage that is made under
the same recipe are copied too. They are made again all the same, for gates and reports of their
own, and the journal answers every call: a row knows from which calls earlier runs drew anew, and a
copied failure is as it was before its last draw, so it fails again as it did.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aidsafe_dagster.lake.batch_recipes import read_recipes
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import from_frame, to_frame
from aidsafe_dagster.recipe.batch_recipe import fingerprint_of
from aidsafe_dagster.recipe.records import (
    UNANSWERED_REASONS,
    Failure,
    FailureReason,
    Usage,
)
from aidsafe_dagster.recipe.stages import STAGES, behind, stages_in_use
from aidsafe_dagster.settings.recipe_parts import recipe_parts
from aidsafe_dagster.settings.snapshot import SettingsSnapshot
from aidsafe_dagster.sources.tables import COPIES, INGESTED

_NOT_DRAWN = UNANSWERED_REASONS | {FailureReason.INTERNAL_ERROR}
"""Reasons of failures after which the next run draws nothing anew."""


def take_over_prompts(project: Lake, lake: Lake) -> list[str]:
    """Copy the sealed batches that a generation does not have yet; return all of its batches."""
    for batch in project.batches(INGESTED):
        if lake.has(INGESTED, batch):
            continue
        # The copy comes first, as when a batch is sealed.
        for table in (COPIES, INGESTED):
            if project.has(table, batch):
                project.copy_to(lake, table, batch)
    return lake.batches(INGESTED)


@dataclass(frozen=True)
class TakenOver:
    """What a generation will ask, as far as the generation before tells."""

    replayed: tuple[str, ...]
    """Stages that are made as before in every batch, so that the journal answers them."""
    asked: tuple[str, ...]
    """The other stages that ask models."""
    usage: Usage
    """What the asked stages took before."""


def take_over_rows(
    before: Lake, lake: Lake, batches: Sequence[str], snapshot: SettingsSnapshot
) -> TakenOver:
    """Copy the rows of stages whose recipe is that of the generation before.

    Args:
        before: the lake of that generation.
        lake: of this one.
        batches: those of this one.
        snapshot: of the settings of this one.
    """
    stages = []
    for stage in stages_in_use(snapshot.settings):
        if STAGES[stage].dialogue is not None:
            stages.append(stage)
    others: set[str] = set()
    usage = Usage()
    for batch in batches:
        alike = set(_alike(before, batch, snapshot))
        for stage in map(str, stages):
            if stage not in alike:
                others.add(stage)
                usage += _usage(before, stage, batch)
            elif not lake.has(stage, batch):
                _copy(before, lake, stage, batch)
    return TakenOver(
        replayed=tuple(str(stage) for stage in stages if stage not in others),
        asked=tuple(str(stage) for stage in stages if stage in others),
        usage=usage,
    )


def _usage(lake: Lake, stage: str, batch: str) -> Usage:
    usage = Usage()
    if not lake.has(stage, batch):
        return usage
    for frame in (lake.rows(stage, batch, ["usage"]), lake.failures(stage, batch)):
        if "usage" in frame.columns:
            for values in frame["usage"]:
                usage += Usage.model_validate(values)
    return usage


def _alike(before: Lake, batch: str, snapshot: SettingsSnapshot) -> Iterator[str]:
    """Yield the stages of a batch that were made under the recipe that is now in force."""
    recipes = read_recipes(before, batch)
    others: set[str] = set()
    for stage, definition in STAGES.items():
        if definition.dialogue is None:
            continue
        recipe = recipes.get(str(stage))
        is_same = (
            recipe is not None
            and before.has(stage, batch)
            and recipe.fingerprint == fingerprint_of(recipe_parts(snapshot, stage))
        )
        # Calls of a stage that rests on another text are other calls.
        if is_same and not others & set(map(str, behind(stage))):
            yield str(stage)
        else:
            others.add(str(stage))


def _copy(before: Lake, lake: Lake, stage: str, batch: str) -> None:
    failures = []
    for failure in from_frame(before.failures(stage, batch), Failure):
        redraws = failure.redraws
        if failure.reason not in _NOT_DRAWN:
            redraws = redraws[:-1]
        failures.append(failure.model_copy(update={"redraws": redraws}))
    lake.write(stage, batch, before.rows(stage, batch), to_frame(failures, Failure))
