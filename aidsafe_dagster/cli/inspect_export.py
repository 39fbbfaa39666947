"""`aidsafe export --format inspect`: deliberations to read in `inspect view`."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl
from rich.markup import escape
from rich.table import Table

from aidsafe_dagster.cli.console import REHEARSAL, console, print_plain
from aidsafe_dagster.cli.project_folder import shown
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.publishing.release import simulated_rows_message
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.fine_tune_splits import Split
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.recipe.stages import STAGES
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.stages.failure_lines import mask_secrets
from aidsafe_dagster.viewer.inspect_logs import write_inspect_log


def export_inspect_logs(
    out: Path, *, split: Split | None, allow_simulated: bool
) -> None:
    """Write a log per batch to `out`, and print them.

    They are for reading: rows that failed and batches behind a closed gate are in them too.

    Raises:
        SetupError: there is nothing to export, or the rows are simulated and nobody said that they
            may be.
    """
    settings = load_settings().settings
    lake = Lake(settings.lake)
    batches = lake.batches(Stage.SEED_COTS)
    simulated = _simulated_rows(lake, batches)
    if simulated and not allow_simulated:
        raise SetupError(simulated_rows_message(simulated, "--allow-simulated"))
    table = Table("log", "batch", "prompts", "failed", title="For `inspect view`")
    for batch in batches:
        log = write_inspect_log(
            lake,
            batch,
            out,
            split=split,
            mask=lambda text: mask_secrets(text, settings),
        )
        if log:
            row = (log.path.name, batch, f"{log.samples:,}", f"{log.failed:,}")
            table.add_row(*map(escape, row))
    if not table.row_count:
        where = f" in {split}" if split else ""
        raise SetupError(
            f"export: there is no deliberation{where} yet (`aidsafe backfill`)"
        )
    console.print(table)
    if simulated:
        console.print(REHEARSAL)
    print_plain(
        f"To read them: pip install inspect-ai, then inspect view --log-dir {shown(out)}"
    )


def _simulated_rows(lake: Lake, batches: Sequence[str]) -> dict[str, int]:
    """Count the prompts per batch of which a stage was simulated; of any stage it would count."""
    counts = {}
    for batch in batches:
        ids: set[str] = set()
        for stage, definition in STAGES.items():
            if definition.dialogue is not None and lake.has(stage, batch):
                rows = lake.rows(stage, batch, ["prompt_id", "simulated"])
                ids.update(rows.filter(pl.col("simulated"))["prompt_id"])
        if ids:
            counts[batch] = len(ids)
    return counts
