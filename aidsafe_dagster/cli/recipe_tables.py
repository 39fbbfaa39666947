"""Tables of `aidsafe status`: batches of another recipe than the one in force, and of several."""

from rich.table import Table
from rich.text import Text

from aidsafe_dagster.lake.batch_recipes import read_recipes
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.batch_recipe import shortened
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.settings.snapshot import SettingsSnapshot
from aidsafe_dagster.sources.tables import INGESTED
from aidsafe_dagster.stages.one_recipe import (
    StageComparison,
    compare_stages,
    describe_mix,
    merged_changes,
)

_UNKNOWN = "not recorded by an earlier release"


def other_recipe_table(lake: Lake, snapshot: SettingsSnapshot | None) -> Table:
    """Return the batches that were made under another recipe, or under an unknown one."""
    table = Table(title="Made under another recipe than the one in force")
    table.add_column("batch", overflow="fold", min_width=12)
    table.add_column("stages", overflow="fold")
    table.add_column("rows", justify="right")
    table.add_column("what differs", overflow="fold")
    if snapshot is None:
        return table
    for batch in lake.batches(INGESTED):
        try:
            comparisons = compare_stages(lake, batch, snapshot)
        except SetupError:
            # Policies or templates that cannot be read, and damaged rows, are told elsewhere.
            continue
        recorded = [one for one in comparisons if one.is_recorded and one.changes]
        unknown = [one for one in comparisons if not one.is_recorded]
        for group, known in ((recorded, True), (unknown, False)):
            if group:
                _add_row(table, batch, group, is_known=known)
    return table


def mixed_recipe_table(lake: Lake) -> Table:
    """Return the stages that rest on stages of another recipe, by a person's choice."""
    table = Table(title="Mixed recipes, by a person's choice")
    table.add_column("batch", overflow="fold", min_width=12)
    table.add_column("stage", overflow="fold")
    table.add_column("rows", justify="right")
    table.add_column("mix", overflow="fold")
    for batch in lake.batches(INGESTED):
        for stage, recipe in read_recipes(lake, batch).items():
            if recipe.mixed_with:
                rows = lake.rows(stage, batch, ["prompt_id"]).height
                mix = Text(describe_mix(recipe.mixed_with))
                table.add_row(batch, stage, f"{rows:,}", mix)
    return table


def _add_row(
    table: Table, batch: str, group: list[StageComparison], *, is_known: bool
) -> None:
    changes = merged_changes(group)
    texts = list(filter(None, ("" if is_known else _UNKNOWN, shortened(changes))))
    stages = ", ".join(one.stage for one in group)
    rows = sum(one.rows for one in group)
    # Rich reads no markup in a `Text`, and names of models may hold brackets.
    table.add_row(batch, stages, f"{rows:,}", Text("; ".join(texts)))
