"""A release: the rows and the card in a folder of their own, made whole before it is shown or sent.

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
from aidsafe_dagster.publishing.card import CardContext, card_facts
from aidsafe_dagster.publishing.dataset import (
    ReleaseSelection,
    Rows,
    settled,
    simulated_prompts,
    source_licences,
    write_rows,
)
from aidsafe_dagster.publishing.licences import Licence, release_licence
from aidsafe_dagster.publishing.parquet import DataFile, data_file
from aidsafe_dagster.recipe.card import render_card
from aidsafe_dagster.recipe.errors import SetupError

CARD = "README.md"
TEMPLATE = Path(__file__).parent / "card.md.jinja"


@dataclass(frozen=True)
class Release:
    folder: Path
    chosen: ReleaseSelection
    rows: Rows
    card: str
    licence: Licence
    simulated: Mapping[str, int]
    """Batch → simulated prompts."""

    @property
    def version(self) -> str:
        return self.rows.version

    @property
    def files(self) -> tuple[DataFile, ...]:
        """The card, then the data."""
        return (data_file(self.folder, CARD), *self.rows.files)


def make_release(
    lake: Lake,
    wanted: ReleaseSelection,
    told: CardContext,
    home: Path,
    *,
    allow_simulated: bool = False,
) -> Release:
    """Writes a release from the batches wanted; an earlier one of the same version is replaced.

    Raises:
        SetupError: rows are simulated and may not be, no licence covers the sources, or there is nothing to publish.
    """
    chosen = settled(lake, wanted)
    simulated = simulated_prompts(lake, chosen.batches)
    if simulated and not allow_simulated:
        raise SetupError(refusal(simulated))
    licence = release_licence(
        told.publish.licence, source_licences(lake, chosen.batches), told.publish.licences
    )
    with _made_beside(home / "published") as beside:
        rows = write_rows(lake, chosen.batches, told.publish, told.general_ratio, beside)
        if not rows.files:
            raise SetupError(_nothing(chosen))
        facts = card_facts(lake, chosen, rows, told, licence, simulated=bool(simulated))
        card = render_card(facts, TEMPLATE.read_text("utf-8"))
        (beside / CARD).write_text(card, "utf-8")
        folder = _moved(beside, home / "published" / rows.version)
    return Release(folder, chosen, rows, card, licence, simulated)


def refusal(simulated: Mapping[str, int], unless: str = "a dry run with allow_simulated") -> str:
    """Why rows of the rehearsal engine are not taken; `unless` names what takes them all the same."""
    where = ", ".join(f"{batch} ({prompts})" for batch, prompts in list(simulated.items())[:10])
    more = f" and {len(simulated) - 10} more batches" if len(simulated) > 10 else ""
    return (
        f"{sum(simulated.values())} prompts have rows that the rehearsal engine simulated: {where}{more}. They are not "
        f"for training and never published. Make these batches with a model; to look at them all the same: {unless}"
    )


def _nothing(chosen: ReleaseSelection) -> str:
    told = (
        "; ".join(f"{batch}: {why}" for batch, why in list(chosen.left_out.items())[:5])
        or "no batch was made yet"
    )
    return f"there is no row to publish ({told})"


@contextmanager
def _made_beside(folder: Path) -> Iterator[Path]:
    """A folder to work in, out of sight, gone in the end; one release is made at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    with LockFile(folder / ".lock", "a release").hold(f"process {os.getpid()}"):
        beside = folder / ".new"
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        try:
            yield beside
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def _moved(made: Path, folder: Path) -> Path:
    replace_folder(made, folder)
    return folder
