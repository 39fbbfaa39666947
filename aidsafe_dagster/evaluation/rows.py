"""Rows of a benchmark, with the mapping from fields to columns. It is resolved once per file."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from aidsafe_dagster.evaluation.benchmarks import BenchmarkSpec
from aidsafe_dagster.recipe.errors import SetupError, unknown
from aidsafe_dagster.sources.files import read_file
from aidsafe_dagster.sources.locate import LocatedFile
from aidsafe_dagster.sources.rejection import Rejection
from aidsafe_dagster.sources.rows import FileRow

CHOICE_COLUMNS = tuple("ABCD")
"""Of a question whose choices are not in one column."""


@dataclass(frozen=True)
class BenchmarkRow:
    """One row of a file."""

    place: str
    """File and row, for messages."""
    cells: Mapping[str, Any]
    columns: Mapping[str, str]
    """Field → column."""

    def get(self, field: str) -> Any:
        """Return the value of a field; None if the file lacks it."""
        if field not in self.columns:
            return None
        return self.cells.get(self.columns[field])

    def text(self, field: str) -> str:
        value = self.get(field)
        if value is None:
            return ""
        return str(value).strip()

    def error(self, field: str, reason: str) -> SetupError:
        return SetupError(f"{self.place}, column '{self.columns[field]}': {reason}")


def read_rows(
    spec: BenchmarkSpec, files: Sequence[LocatedFile]
) -> Iterator[BenchmarkRow]:
    """Yield the rows of all files, up to the benchmark's limit.

    Raises:
        SetupError: a file cannot be read, or lacks a column.
    """
    remaining = spec.limit
    for file in files:
        # Reading no row of a further file would look like an empty file, which is an error.
        if remaining == 0:
            return
        place = file.place
        needed = partial(_needed_columns, spec, place)
        content = read_file(file.path, remaining, form=spec.form, columns=needed)
        if remaining is not None:
            remaining -= len(content.rows)
        # Files of one benchmark may differ in their columns.
        columns = _resolve_columns(spec, content.columns, place)
        for row in content.rows:
            yield BenchmarkRow(f"{place} row {row.number}", _cells(row), columns)


def _needed_columns(
    spec: BenchmarkSpec, place: str, columns: Sequence[str]
) -> Collection[str]:
    return {*_resolve_columns(spec, columns, place).values(), *CHOICE_COLUMNS}


def _cells(row: FileRow) -> Mapping[str, Any]:
    """Return the cells of a row; none if the file's reader rejected the row."""
    # Without cells it has no prompt, and is left out and counted like any such row.
    if isinstance(row.content, Rejection):
        return {}
    return row.content


def _resolve_columns(
    spec: BenchmarkSpec, file_columns: Sequence[str], place: str
) -> dict[str, str]:
    """Return field → column.

    Raises:
        SetupError: the file lacks a required column, or one that the settings name.
    """
    preset = spec.benchmark
    for field, column in spec.columns.items():
        if field not in preset.fields:
            raise unknown("field", field, preset.fields, f"{spec}: columns")
        if column not in file_columns:
            raise unknown("column", column, file_columns, f"{spec}: {place}")
    columns: dict[str, str] = {}
    for field, usual_names in preset.fields.items():
        present = [name for name in usual_names if name in file_columns]
        if field in spec.columns:
            columns[field] = spec.columns[field]
        elif present:
            columns[field] = present[0]
        elif field not in preset.optional:
            names = " or ".join(f"'{name}'" for name in usual_names)
            raise SetupError(
                f"{spec}: {place}: no column {names}; set columns.{field}. "
                f"Found: {', '.join(file_columns)}"
            )
    return columns
