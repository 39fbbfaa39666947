"""Make a release: rows and card in a folder that appears only once it is complete.

<home>/published/<version>/README.md
<home>/published/<version>/data/…
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.primitives.atomic_write import replace_folder
from aidsafe_dagster.primitives.lock_file import LockFile
from aidsafe_dagster.publishing.batch_rows import Judging
from aidsafe_dagster.publishing.card import CardContext, card_facts
from aidsafe_dagster.publishing.dataset import (
    ReleaseRows,
    ReleaseSelection,
    drop_outdated,
    drop_simulated,
    simulated_prompts,
    source_licences,
    write_rows,
)
from aidsafe_dagster.publishing.licences import Licence, release_licence
from aidsafe_dagster.publishing.parquet import DataFile, data_file
from aidsafe_dagster.recipe.card import render_card
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.selection.records import SelectionRow
from aidsafe_dagster.selection.store import read_selection

CARD = "README.md"
TEMPLATE = Path(__file__).parent / "card.md.jinja"
_MAX_NAMED_BATCHES = 10
_MAX_NAMED_REASONS = 5


@dataclass(frozen=True)
class Release:
    folder: Path
    selection: ReleaseSelection
    rows: ReleaseRows
    card: str
    licence: Licence
    simulated: Mapping[str, int]
    """Batch → simulated prompts."""
    without_selected: str = ""
    """Why the selection in force is not published; empty if it is, or if there is none."""

    @property
    def version(self) -> str:
        return self.rows.version

    @property
    def files(self) -> tuple[DataFile, ...]:
        """The card, then the data."""
        return (data_file(self.folder, CARD), *self.rows.files)


def make_release(
    lake: Lake,
    requested: ReleaseSelection,
    context: CardContext,
    home: Path,
    *,
    allow_simulated: bool = False,
) -> Release:
    """Write a release of the requested batches; it replaces an earlier one of the same version.

    Raises:
        SetupError: rows are simulated and must not be, no licence covers the sources, or there is
            nothing to publish.
    """
    selection = drop_outdated(lake, requested)
    settings = context.publish
    # Both refusals come before anything is written.
    if not allow_simulated:
        selection = drop_simulated(lake, selection)
    simulated = simulated_prompts(lake, selection.batches)
    if simulated and not allow_simulated:
        raise SetupError(simulated_rows_message(simulated))
    sources = source_licences(lake, selection.batches)
    licence = release_licence(settings.licence, sources, settings.licences)
    selected, without_selected = _selected_rows(lake, selection)
    # The folder is named after a hash of the rows, which is known only once they are written.
    with _staging_folder(home / "published") as staging:
        judging = Judging(context.policies, context.pairs)
        rows = write_rows(
            lake,
            selection,
            settings,
            judging,
            context.general_ratio,
            staging,
            selected,
        )
        if not rows.files:
            raise SetupError(_no_rows_message(selection))
        facts = card_facts(
            lake, selection, rows, context, licence, simulated=bool(simulated)
        )
        card = render_card(facts, TEMPLATE.read_text("utf-8"))
        (staging / CARD).write_text(card, "utf-8")
        folder = home / "published" / rows.version
        replace_folder(staging, folder)
    return Release(folder, selection, rows, card, licence, simulated, without_selected)


def _selected_rows(
    lake: Lake, selection: ReleaseSelection
) -> tuple[Mapping[str, SelectionRow], str]:
    """Return the chosen rows by prompt id, or why they cannot be published."""
    best = read_selection(lake)
    if best is None:
        return {}, ""
    reason = best.why_not_of(selection.batches)
    if reason:
        return {}, reason
    return best.chosen, ""


def simulated_rows_message(
    simulated: Mapping[str, int], remedy: str = "a dry run with allow_simulated"
) -> str:
    """Explain why rows of the rehearsal engine are refused; `remedy` is how to take them anyway."""
    batches = [f"{batch} ({prompts})" for batch, prompts in simulated.items()]
    listed = ", ".join(batches[:_MAX_NAMED_BATCHES])
    unlisted = len(batches) - _MAX_NAMED_BATCHES
    if unlisted > 0:
        listed += f" and {unlisted} more batches"
    total = sum(simulated.values())
    return (
        f"{total} prompts have rows that the rehearsal engine simulated: {listed}. "
        "Simulated rows are not for training and are never published. Make these batches with a "
        f"model; to look at the simulated rows anyway, use {remedy}"
    )


def _no_rows_message(selection: ReleaseSelection) -> str:
    reasons = [f"{batch}: {why}" for batch, why in selection.left_out.items()]
    listed = "; ".join(reasons[:_MAX_NAMED_REASONS]) or "no batch was made yet"
    return f"there is no row to publish ({listed})"


@contextmanager
def _staging_folder(parent: Path) -> Iterator[Path]:
    """A hidden folder to write in, removed at the end; the lock allows one release at a time."""
    parent.mkdir(parents=True, exist_ok=True)
    # Two releases at once would write to the same staging folder.
    with LockFile(parent / ".lock", "a release").hold(f"process {os.getpid()}"):
        staging = parent / ".new"
        # A process that was killed may have left one behind.
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)
