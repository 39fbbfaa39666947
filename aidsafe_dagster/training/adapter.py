"""Makes an adapter: finds the one that is there already, or trains it, and puts it in its place whole.

<home>/training/<version>/<method>/     the work folder: configuration, log, checkpoints while it trains
<home>/adapters/<version>/<method>/     the adapter, its tokenizer, README, curves and lineage
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aidsafe_dagster.primitives.atomic_write import replace_folder
from aidsafe_dagster.primitives.lock_file import LockFile
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.training.card import card
from aidsafe_dagster.training.curves import FILE as CURVES
from aidsafe_dagster.training.data import SPLITS, TrainingSet
from aidsafe_dagster.training.lineage import (
    FILE,
    Lineage,
    base_revision,
    hash_of,
    lineage_key,
    read_lineage,
)
from aidsafe_dagster.training.run import run_script
from aidsafe_dagster.training.settings import Method, TrainingSettings

_WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True)
class Adapter:
    folder: Path
    lineage: Lineage
    reused: bool
    """It was there already: same data, base model and settings."""


@dataclass(frozen=True)
class _Task:
    """One adapter that is to be: of what, and where."""

    method: Method
    settings: TrainingSettings
    data: TrainingSet
    home: Path
    base: str
    """Revision of the base model, or a hash of its folder."""
    start: Adapter | None
    """The SFT adapter that DPO goes on from."""

    @property
    def key(self) -> str:
        return lineage_key(
            self.settings, self.method, self.data.version, self.base, self.from_adapter
        )

    @property
    def from_adapter(self) -> str:
        return self.start.lineage.weights if self.start else ""

    @property
    def folder(self) -> Path:
        return self.home / "adapters" / self.data.version / self.method

    @property
    def work(self) -> Path:
        return self.data.folder / self.method


def make_adapter(
    method: Method,
    settings: TrainingSettings,
    data: TrainingSet,
    home: Path,
    log: Callable[[str], None],
    *,
    force: bool = False,
) -> Adapter:
    """Trains an adapter, unless one with the same lineage is there and `force` does not say otherwise.

    A training that was cut off goes on from its last checkpoint, if it is to make the same adapter.

    Raises:
        SetupError: no base model is set, there are no rows, the SFT adapter to start from is missing or of another base
            model, another run is training it now, or the training failed.
    """
    _require(method, settings, data)
    base = base_revision(settings)
    start = (
        _sft_adapter(home, settings, data.version, base)
        if method == "dpo" and settings.dpo.from_sft
        else None
    )
    task = _Task(method, settings, data, home, base, start)
    found = read_lineage(task.folder)
    if found and found.key == task.key and not force:
        log(
            f"{task.folder} has this adapter already: nothing to train (`force` in the configuration trains it again)"
        )
        return Adapter(task.folder, found, reused=True)
    with _alone(task.work):
        started = time.monotonic()
        result = run_script(method, settings, _config(task), task.work, log)
        lineage = _lineage(task, result, round(time.monotonic() - started, 1))
        _publish(task.work, task.folder, lineage)
    return Adapter(task.folder, lineage, reused=False)


def _require(method: Method, settings: TrainingSettings, data: TrainingSet) -> None:
    if not settings.model:
        raise SetupError(
            "training.model: the base model to train is required (a folder, or its name on the Hub)"
        )
    if not data.rows[f"{method}_train"]:
        raise SetupError(
            f"there is nothing to train on: no {method} row is in the train split (batches taken: {len(data.batches)})"
        )


def _sft_adapter(home: Path, settings: TrainingSettings, version: str, base: str) -> Adapter:
    folder = home / "adapters" / version / "sft"
    lineage = read_lineage(folder)
    if lineage is None:
        raise SetupError(
            f"{folder}: there is no SFT adapter of dataset {version} to start from: make sft_adapter first, or set "
            "training.dpo.from_sft = false"
        )
    if lineage.base_model != settings.model or (base and lineage.base_revision != base):
        raise SetupError(
            f"{folder}: the SFT adapter was trained on {lineage.base_model} ({lineage.base_revision or 'default'}) and "
            f"training.model is {settings.model} ({base or 'default'}): make sft_adapter again"
        )
    return Adapter(folder, lineage, reused=True)


def _config(task: _Task) -> dict[str, Any]:
    """What the script is given; a work folder of another adapter is emptied, one of the same is gone on with."""
    work, key = task.work, task.work / "key"
    if key.exists() and key.read_text() != task.key:
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)
    key.write_text(task.key)
    steps = task.settings.dpo if task.method == "dpo" else task.settings.sft
    return {
        **task.settings.recipe(task.method),
        **steps.model_dump(include={"log_every", "eval_every", "save_every"}),
        "work": str(work),
        "data": {split: str(task.data.file(task.method, split)) for split in SPLITS},
        "from_adapter": str(task.start.folder) if task.start else None,
    }


def _lineage(task: _Task, result: dict[str, Any], seconds: float) -> Lineage:
    return Lineage(
        key=task.key,
        method=task.method,
        dataset_version=task.data.version,
        batches=task.data.batches,
        licences=task.data.licences,
        simulated=task.data.simulated,
        base_model=task.settings.model,
        base_revision=task.base or result["base_commit"],
        from_adapter=task.from_adapter,
        weights=hash_of(task.work / "adapter" / _WEIGHTS),
        recipe=task.settings.recipe(task.method),
        result=result,
        seconds=seconds,
    )


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    lock = LockFile(Path(f"{work}.lock"))
    if not lock.try_hold(f"process {os.getpid()}"):
        raise SetupError(f"{work}: another run is training this adapter now")
    try:
        yield
    finally:
        lock.release()


def _publish(work: Path, folder: Path, lineage: Lineage) -> None:
    """Puts the finished adapter in its place in one step; the one that was there before goes."""
    made = work / "adapter"
    (made / "README.md").write_text(card(lineage), "utf-8")
    shutil.copy(work / CURVES, made)
    (made / FILE).write_text(lineage.model_dump_json(indent=1), "utf-8")
    replace_folder(made, folder)
    for gone in (work / "checkpoints", work / "cache"):
        shutil.rmtree(gone, ignore_errors=True)
