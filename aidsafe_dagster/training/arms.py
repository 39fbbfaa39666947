"""Arms of a comparison of trainings: the same base model, trained on different rows.

An arm whose rows are missing stays in the comparison and says why, so that no column of a table
vanishes. Arms are kept apart by everything that bears on their weights:

    <home>/arms/<key>/training/<version>/      rows and work folder of one arm
    <home>/arms/<key>/adapters/<version>/      its adapter
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.training.adapter import Adapter, make_adapter
from aidsafe_dagster.training.data import TrainingSet, store_training_set
from aidsafe_dagster.training.lineage import base_revision, lineage_key, read_lineage
from aidsafe_dagster.training.settings import Method, TrainingSettings

BASE = "base"
SFT = "sft"


@dataclass(frozen=True)
class Arm:
    """One way to train the base model, or the base model itself."""

    name: str
    """Of the model, for servers and files."""
    title: str
    """In tables."""
    method: Method | None = None
    """None: nothing is trained."""
    rows: pl.DataFrame | None = None
    """Fine-tune rows of all splits."""
    batches: tuple[tuple[str, str], ...] = ()
    """Batch and fingerprint of its rows."""
    after: str = ""
    """Name of the arm from which DPO starts; empty: the base model."""
    missing: str = ""
    """Why there is nothing to train on; empty if there is."""

    @property
    def train_rows(self) -> int:
        if self.rows is None:
            return 0
        return self.rows.filter(split="train").height


def train_arm(
    arm: Arm,
    start: Adapter | None,
    settings: TrainingSettings,
    home: Path,
    log: Callable[[str], None],
    generation: int = 1,
) -> Adapter:
    """Train an arm, or reuse the adapter of the very same rows, model and settings.

    Adapters of `aidsafe train` are reused and never replaced. An interrupted training goes on from
    its last checkpoint.

    Args:
        arm: with rows.
        start: the adapter from which DPO starts; None: the base model.
        settings: of the training.
        home: of the settings.
        log: called with each line of the training.
        generation: of the rows.

    Raises:
        SetupError: see `make_adapter`.
    """
    assert arm.method is not None
    assert arm.rows is not None
    if arm.method == "dpo":
        # The arm's own start, whatever adapter the settings name.
        changes = {
            "from_sft": start is not None,
            "from_adapter": str(start.folder) if start else "",
        }
        dpo = settings.dpo.model_copy(update=changes)
        settings = settings.model_copy(update={"dpo": dpo})
    version = _version(arm.rows)
    started_from = start.lineage.weights if start else ""
    base = base_revision(settings)
    key = lineage_key(settings, arm.method, version, base, started_from)
    folder = home / "arms" / key
    data = store_training_set(arm.rows, dict(arm.batches), version, folder / "training")
    return make_adapter(arm.method, settings, data, folder, log, generation=generation)


def same_as_trained(
    method: Method,
    data: TrainingSet,
    start: Adapter | None,
    settings: TrainingSettings,
    home: Path,
) -> Adapter | None:
    """Return the adapter of `aidsafe train` if it has this very data, model and settings."""
    folder = home / "adapters" / data.version / method
    lineage = read_lineage(folder)
    started_from = start.lineage.weights if start else ""
    key = lineage_key(
        settings, method, data.version, base_revision(settings), started_from
    )
    if lineage is None or lineage.key != key:
        return None
    return Adapter(folder, lineage, reused=True)


def _version(rows: pl.DataFrame) -> str:
    """Return a short hash of what an arm is trained on."""
    columns = ["kind", "split", "prompt_id", "messages", "prompt", "chosen", "rejected"]
    text = rows.select(columns).sort("kind", "prompt_id").write_json()
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def why_failed(error: SetupError) -> str:
    """Return the first line of an error, which is its cause."""
    return str(error).partition("\n")[0]
