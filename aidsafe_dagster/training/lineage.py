"""What an adapter was made of, written beside it as `lineage.json`, and the key that tells it from another."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aidsafe_dagster.recipe.records import Record
from aidsafe_dagster.training.settings import Method, TrainingSettings

FILE = "lineage.json"


class Lineage(Record):
    key: str
    """Hash of data, base model, starting adapter and settings: the same key, the same training."""
    method: Method
    dataset_version: str
    batches: Mapping[str, str]
    """Batch → fingerprint of its rows."""
    licences: Mapping[str, int]
    """Licence of the prompt → rows."""
    simulated: bool
    base_model: str
    base_revision: str
    """As set, or a hash of the folder's files."""
    from_adapter: str
    """Hash of the weights of the SFT adapter that DPO started from; empty without one."""
    weights: str
    """Hash of this adapter's weights."""
    recipe: Mapping[str, Any]
    """The settings that bear on the weights."""
    result: Mapping[str, Any]
    """Losses, steps, rows, device and versions of the libraries, as the training script found them."""
    seconds: float


def lineage_key(
    settings: TrainingSettings, method: Method, version: str, base: str, from_adapter: str
) -> str:
    what = [settings.recipe(method), version, base, from_adapter]
    return hashlib.blake2b(json.dumps(what, sort_keys=True).encode(), digest_size=8).hexdigest()


def read_lineage(folder: Path) -> Lineage | None:
    """The lineage of the adapter in a folder; None where there is none that can be read."""
    try:
        return Lineage.model_validate_json((folder / FILE).read_bytes())
    except (OSError, ValueError):
        return None


def base_revision(settings: TrainingSettings) -> str:
    """The revision that is set; for a model in a folder a hash of its files, since nothing else tells two apart."""
    folder = Path(settings.model)
    if not folder.is_dir():
        return settings.revision
    digest = hashlib.blake2b(digest_size=8)
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        digest.update(f"{file.name}:{hash_of(file)}".encode())
    return f"files:{digest.hexdigest()}"


def hash_of(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=8)).hexdigest()
