"""Table: stages that rest on stages of another recipe, because a person went on with the batch."""

from aidsafe_dagster.lake.batch_recipes import read_recipes
from aidsafe_dagster.recipe.batch_recipe import shortened
from aidsafe_dagster.reports.frames import Dataset
from aidsafe_dagster.reports.sections import Table, format_count


def mixed_recipe_table(dataset: Dataset) -> Table | None:
    """Return a line per batch, stage and stage behind it; None if every batch has one recipe."""
    lines = []
    for batch in sorted(dataset.batches):
        for stage, recipe in read_recipes(dataset.lake, batch).items():
            if not recipe.mixed_with:
                continue
            rows = dataset.lake.rows(stage, batch, ["prompt_id"]).height
            for other in recipe.mixed_with:
                what = shortened(other.changes)
                lines.append((batch, stage, other.stage, what, format_count(rows)))
    if not lines:
        return None
    note = (
        "These batches were gone on with by choice (keep_recipe). `aidsafe backfill` without it "
        "makes them of one recipe. The column mixed_with marks their rows."
    )
    columns = ("batch", "stage", "rests on", "what changed since", "rows")
    return Table(
        "Batches of a mixed recipe", columns, tuple(lines), note, text_columns=4
    )
