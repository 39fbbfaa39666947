"""Make an adapter: reuse an existing one or train it, and move it into place atomically.

<home>/training/<version>/<method>/     work folder: configuration, log, checkpoints
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
from aidsafe_dagster.training.card import adapter_card
from aidsafe_dagster.training.curves import CURVES_FILE
from aidsafe_dagster.training.data import SPLITS, TrainingSet
from aidsafe_dagster.training.lineage import (
    LINEAGE_FILE,
    Lineage,
    base_revision,
    hash_file,
    lineage_key,
    read_lineage,
)
from aidsafe_dagster.training.run import require_setup, run_script
from aidsafe_dagster.training.settings import (
    REPORTING_STEPS,
    Method,
    StepSettings,
    TrainingSettings,
)

_WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True)
class Adapter:
    folder: Path
    lineage: Lineage
    reused: bool
    """It existed already, with the same data, base model and settings."""


@dataclass(frozen=True)
class _Job:
    """The inputs of one adapter, and its folders."""

    method: Method
    settings: TrainingSettings
    data: TrainingSet
    home: Path
    base: str
    """Revision of the base model, or a hash of its folder."""
    start: Adapter | None
    """The adapter from which DPO starts."""
    generation: int

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
    generation: int = 1,
) -> Adapter:
    """Train an adapter, or reuse the one with the same lineage unless `force` is set.

    An interrupted training of the same adapter resumes from its last checkpoint.

    Raises:
        SetupError: no base model is set, there are no rows, the adapter to start from is missing or
            has another base model, another run is training the adapter, or the training failed.
    """
    _check_inputs(method, settings, data)
    base = base_revision(settings)
    start = None
    if method == "dpo" and settings.dpo.from_adapter:
        start = _given_adapter(settings, base)
    elif method == "dpo" and settings.dpo.from_sft:
        start = _sft_adapter(home, settings, data.version, base)
    job = _Job(method, settings, data, home, base, start, generation)
    existing = read_lineage(job.folder)
    if existing and existing.key == job.key and not force:
        log(
            f"{job.folder} already holds this adapter: nothing to train "
            "(set `force` in the configuration to train it again)"
        )
        return Adapter(job.folder, existing, reused=True)
    # Reusing an adapter above needs no lock, since a folder appears whole.
    with _hold_lock(job.work):
        started = time.monotonic()
        result = run_script(method, settings, _prepare(job), job.work, log)
        seconds = round(time.monotonic() - started, 1)
        lineage = _make_lineage(job, result, seconds)
        _move_into_place(job.work, job.folder, lineage)
    return Adapter(job.folder, lineage, reused=False)


def _check_inputs(
    method: Method, settings: TrainingSettings, data: TrainingSet
) -> None:
    require_setup(settings)
    if not data.rows[f"{method}_train"]:
        raise SetupError(
            f"there is nothing to train on: no {method} row is in the train split "
            f"(batches used: {len(data.batches)})"
        )


def _given_adapter(settings: TrainingSettings, base: str) -> Adapter:
    """Return the adapter that the settings name as the start of DPO."""
    folder = Path(settings.dpo.from_adapter)
    lineage = read_lineage(folder)
    if lineage is None:
        raise SetupError(
            f"training.dpo.from_adapter: {folder}: there is no adapter with a lineage.json"
        )
    _require_base(folder, lineage, settings, base, "it goes on with that model alone")
    return Adapter(folder, lineage, reused=True)


def _sft_adapter(
    home: Path, settings: TrainingSettings, version: str, base: str
) -> Adapter:
    folder = home / "adapters" / version / "sft"
    lineage = read_lineage(folder)
    if lineage is None:
        raise SetupError(
            f"{folder}: there is no SFT adapter of dataset {version} to start from: "
            "make sft_adapter first, or set training.dpo.from_sft = false"
        )
    _require_base(folder, lineage, settings, base, "make sft_adapter again")
    return Adapter(folder, lineage, reused=True)


def _require_base(
    folder: Path, lineage: Lineage, settings: TrainingSettings, base: str, remedy: str
) -> None:
    # Without a revision in the settings, any commit of the base model is accepted.
    has_other_revision = bool(base) and lineage.base_revision != base
    if lineage.base_model != settings.model or has_other_revision:
        raise SetupError(
            f"{folder}: the {lineage.method.upper()} adapter was trained on {lineage.base_model} "
            f"({lineage.base_revision or 'default'}), but training.model is {settings.model} "
            f"({base or 'default'}): {remedy}"
        )


def _prepare(job: _Job) -> dict[str, Any]:
    """Prepare the work folder, and return the configuration of the script.

    Checkpoints of the same adapter stay, to resume from; those of another adapter are removed.
    """
    work, key = job.work, job.work / "key"
    # The trainer would resume from another adapter's checkpoint without a word.
    if key.exists() and key.read_text() != job.key:
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)
    key.write_text(job.key)
    steps: StepSettings = job.settings.sft
    if job.method == "dpo":
        steps = job.settings.dpo
    files = {}
    for split in SPLITS:
        files[split] = str(job.data.file(job.method, split))
    from_adapter = None
    if job.start:
        from_adapter = str(job.start.folder)
    return {
        **job.settings.recipe(job.method),
        **steps.model_dump(include=REPORTING_STEPS),
        "work": str(work),
        "data": files,
        "from_adapter": from_adapter,
    }


def _make_lineage(job: _Job, result: dict[str, Any], seconds: float) -> Lineage:
    return Lineage(
        key=job.key,
        method=job.method,
        dataset_version=job.data.version,
        batches=job.data.batches,
        licences=job.data.licences,
        rows_of=job.data.rows_of,
        simulated=job.data.simulated,
        base_model=job.settings.model,
        # Without a revision in the settings, only the script knows which commit it loaded.
        base_revision=job.base or result["base_commit"],
        from_adapter=job.from_adapter,
        weights=hash_file(job.work / "adapter" / _WEIGHTS),
        recipe=job.settings.recipe(job.method),
        result=result,
        seconds=seconds,
        generation=job.generation,
    )


@contextmanager
def _hold_lock(work: Path) -> Iterator[None]:
    # Beside the work folder, which may be removed while the lock is held.
    lock = LockFile(Path(f"{work}.lock"))
    if not lock.try_hold(f"process {os.getpid()}"):
        raise SetupError(f"{work}: another run is training this adapter now")
    try:
        yield
    finally:
        lock.release()


def _move_into_place(work: Path, folder: Path, lineage: Lineage) -> None:
    """Complete the adapter's folder, and replace an earlier adapter with it."""
    trained = work / "adapter"
    card = adapter_card(lineage)
    (trained / "README.md").write_text(card, "utf-8")
    shutil.copy(work / CURVES_FILE, trained)
    lineage_json = lineage.model_dump_json(indent=1)
    (trained / LINEAGE_FILE).write_text(lineage_json, "utf-8")
    replace_folder(trained, folder)
    # The checkpoints go last: until here, a killed run can resume from them.
    for leftover in (work / "checkpoints", work / "cache"):
        shutil.rmtree(leftover, ignore_errors=True)
