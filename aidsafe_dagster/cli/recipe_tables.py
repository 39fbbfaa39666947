"""What `aidsafe status` says of batches of another recipe than the one in force, and of several."""

from collections.abc import Iterator, Sequence

from aidsafe_dagster.cli.batch_table import STALE, compare_batch
from aidsafe_dagster.cli.console import listing, quantity
from aidsafe_dagster.cli.paragraphs import Paragraphs
from aidsafe_dagster.lake.batch_recipes import read_recipes
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.batch_recipe import shortened
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.settings.snapshot import SettingsSnapshot
from aidsafe_dagster.sources.tables import INGESTED
from aidsafe_dagster.stages.known_lake import KnownLake
from aidsafe_dagster.stages.one_recipe import (
    StageComparison,
    describe_mix,
    merged_changes,
)

_UNKNOWN = "not recorded by an earlier release"


def other_recipes(lake: Lake, snapshot: SettingsSnapshot | None) -> Paragraphs:
    """Return the batches that were made under another recipe, or under an unknown one.

    Batches that differ in the same way share an item.
    """
    paragraphs = Paragraphs(
        f"Made under another recipe than the one in force ({STALE})"
    )
    if snapshot is None:
        return paragraphs
    problem = _why_unknown(snapshot)
    if problem:
        paragraphs.add(f"It cannot be told. {problem}")
        return paragraphs
    batches_by_change: dict[tuple[str, ...], list[tuple[str, int]]] = {}
    for batch in lake.batches(INGESTED):
        for lines, rows in _changes(compare_batch(lake, batch, snapshot)):
            batches_by_change.setdefault(lines, []).append((batch, rows))
    for lines, batches in batches_by_change.items():
        names = listing([batch for batch, _ in batches])
        rows = sum(rows for _, rows in batches)
        paragraphs.add(f"{names}: {quantity(rows, 'row')}", lines)
    return paragraphs


def mixed_recipes(lake: Lake) -> Paragraphs:
    """Return the stages that rest on stages of another recipe, by a person's choice."""
    paragraphs = Paragraphs("Mixed recipes, by a person's choice")
    lake = KnownLake.of(lake)
    for batch in lake.batches(INGESTED):
        for stage, recipe in read_recipes(lake, batch).items():
            if recipe.mixed_with:
                rows = lake.facts(stage, batch).rows
                mix = describe_mix(recipe.mixed_with)
                paragraphs.add(f"{batch}, {stage}: {quantity(rows, 'row')}", [mix])
    return paragraphs


def _changes(
    comparisons: Sequence[StageComparison],
) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield lines on what differs in a batch, and the rows of the stages that differ."""
    recorded = [one for one in comparisons if one.is_recorded and one.changes]
    unknown = [one for one in comparisons if not one.is_recorded]
    for group, whether in ((recorded, ""), (unknown, _UNKNOWN)):
        if not group:
            continue
        changes = "; ".join(filter(None, (whether, shortened(merged_changes(group)))))
        stages = ", ".join(one.stage for one in group)
        yield (f"{stages}: {changes}",), sum(one.rows for one in group)


def _why_unknown(snapshot: SettingsSnapshot) -> str:
    """Return why nothing can be compared with the recipe in force; empty if it can."""
    try:
        _ = snapshot.policies, snapshot.templates
    except SetupError as error:
        return str(error)
    return ""
