"""Where experiments are kept, each in a folder of its own, so that none replaces another.

    <home>/ablations/<kind>-<key>/rows.parquet        a row per variant and prompt
    <home>/ablations/<kind>-<key>/failures.parquet    the prompts that brought none
    <home>/ablations/<kind>-<key>/experiment.json     what was compared; written last

The key is a hash of everything that was compared. The same experiment once more has the same folder
and, answered by the journal, the same rows.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import polars as pl

from aidsafe_dagster.ablations.experiment import (
    TARGETS,
    Experiment,
    ExperimentResult,
    TargetRow,
    VariantFailure,
)
from aidsafe_dagster.lake.tables import from_frame, to_frame
from aidsafe_dagster.primitives.atomic_write import atomic_write
from aidsafe_dagster.recipe.ablations import AblationRow
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Record

R = TypeVar("R", bound=Record)
_ROWS, _FAILURES, _EXPERIMENT = "rows.parquet", "failures.parquet", "experiment.json"


class ExperimentArchive:
    """The experiments of a project.

    Args:
        home: of the settings.
    """

    def __init__(self, home: Path) -> None:
        self.folder = home / "ablations"

    def rows_path(self, experiment: Experiment) -> Path:
        return self.folder / experiment.name / _ROWS

    def store(self, result: ExperimentResult) -> None:
        """Write an experiment; a kill in between leaves it unlisted, or as it was."""
        folder = self.folder / result.experiment.name
        record = _row_class(result.experiment)
        _write(folder / _ROWS, list(result.rows), record)
        _write(folder / _FAILURES, list(result.failures), VariantFailure)
        with atomic_write(folder / _EXPERIMENT) as temporary:
            text = result.experiment.model_dump_json(indent=1)
            temporary.write_text(text, encoding="utf-8")

    def result(self, name: str) -> ExperimentResult:
        """Return the experiment of this name.

        Raises:
            SetupError: there is none, or a file is damaged.
        """
        return self._read(self.folder / name / _EXPERIMENT)

    def results(self) -> Iterator[ExperimentResult]:
        """Yield every experiment, by kind, the oldest first.

        Raises:
            SetupError: a file is damaged.
        """
        files = list(self.folder.glob(f"*/{_EXPERIMENT}"))
        # By time of writing, since the experiment itself holds none.
        files.sort(key=lambda file: (_kind_of(file), file.stat().st_mtime, file))
        for file in files:
            yield self._read(file)

    def _read(self, file: Path) -> ExperimentResult:
        try:
            text = file.read_text(encoding="utf-8")
            experiment = Experiment.model_validate_json(text)
            rows = _read(file.with_name(_ROWS), _row_class(experiment))
            failures = _read(file.with_name(_FAILURES), VariantFailure)
        except (ValueError, OSError, pl.exceptions.PolarsError) as error:
            raise SetupError(
                f"{file.parent}: this experiment cannot be read ({error}); remove the folder and "
                "run the experiment again: the journal has its answers"
            ) from error
        return ExperimentResult(experiment, rows, failures)  # type: ignore[arg-type]


def _row_class(experiment: Experiment) -> type[Record]:
    return TargetRow if experiment.kind == TARGETS else AblationRow


def _kind_of(file: Path) -> str:
    return file.parent.name.rpartition("-")[0]


def _write(file: Path, rows: list[R], record: type[R]) -> None:
    with atomic_write(file) as temporary:
        to_frame(rows, record).write_parquet(temporary)


def _read(file: Path, record: type[R]) -> list[R]:
    return from_frame(pl.read_parquet(file, glob=False), record)
