"""Lineage of an adapter, written beside it as `lineage.json`, and the key that identifies it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aidsafe_dagster.recipe.records import Record
from aidsafe_dagster.training.settings import Method, TrainingSettings

LINEAGE_FILE = "lineage.json"


class Lineage(Record):
    key: str
    """Hash of data, base model, starting adapter and settings. Equal keys mean equal trainings."""
    method: Method
    dataset_version: str
    batches: Mapping[str, str]
    """Batch → fingerprint of its rows."""
    licences: Mapping[str, int]
    """Licence of the prompt → rows."""
    rows_of: str = "all"
    """Rows of the train split: all, or a part such as `selected`."""
    simulated: bool
    base_model: str
    base_revision: str
    """The setting, or a hash of the files of a folder."""
    from_adapter: str
    """Hash of the weights of the adapter from which DPO started; empty without one."""
    weights: str
    """Hash of this adapter's weights."""
    recipe: Mapping[str, Any]
    """The settings that affect the weights."""
    result: Mapping[str, Any]
    """Losses, steps, rows, device and library versions, as reported by the training script."""
    seconds: float
    generation: int = 1
    """Of the rows that it was trained on."""


def lineage_key(
    settings: TrainingSettings,
    method: Method,
    version: str,
    base: str,
    from_adapter: str,
) -> str:
    """Return the key of an adapter before it is trained."""
    inputs = [settings.recipe(method), version, base, from_adapter]
    text = json.dumps(inputs, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def read_lineage(folder: Path) -> Lineage | None:
    """Return the lineage of the adapter in a folder; None if there is no readable one."""
    try:
        return Lineage.model_validate_json((folder / LINEAGE_FILE).read_bytes())
    # An older release may have written other fields. Its adapter is then trained again.
    except (OSError, ValueError):
        return None


def base_revision(settings: TrainingSettings) -> str:
    """Return the revision of the settings, or a hash of the files for a model in a folder.

    A folder has no revision, and its contents may change under the same name.
    """
    folder = Path(settings.model)
    if not folder.is_dir():
        return settings.revision
    digest = hashlib.blake2b(digest_size=8)
    # Sorted, because the order of a folder's files differs between file systems.
    files = sorted(path for path in folder.iterdir() if path.is_file())
    for file in files:
        line = f"{file.name}:{hash_file(file)}"
        digest.update(line.encode())
    return f"files:{digest.hexdigest()}"


def hash_file(file: Path) -> str:
    """Return 64 bits of BLAKE2b over the content of a file, as 16 hex digits."""
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, lambda: hashlib.blake2b(digest_size=8))
    return digest.hexdigest()
