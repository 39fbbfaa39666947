"""Rows of a benchmark: which column holds which field, settled once per file."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aidsafe_dagster.evaluation.benchmarks import BenchmarkSpec
from aidsafe_dagster.recipe.errors import SetupError, unknown
from aidsafe_dagster.sources.files import FileRow, read_file
from aidsafe_dagster.sources.locate import LocatedFile
from aidsafe_dagster.sources.rejection import Rejection


@dataclass(frozen=True)
class BenchmarkRow:
    """One row, and field → column."""

    place: str
    cells: Mapping[str, Any]
    columns: Mapping[str, str]

    def get(self, name: str) -> Any:
        return self.cells.get(self.columns[name]) if name in self.columns else None

    def text(self, name: str) -> str:
        value = self.get(name)
        return "" if value is None else str(value).strip()

    def wrong(self, name: str, why: str) -> SetupError:
        return SetupError(f"{self.place}, column '{self.columns[name]}': {why}")


def read_rows(spec: BenchmarkSpec, files: Sequence[LocatedFile]) -> Iterator[BenchmarkRow]:
    """The rows of all files, at most as many as the benchmark's limit.

    Raises:
        SetupError: a file cannot be read, or lacks a column.
    """
    left = spec.limit
    for file in files:
        if left == 0:
            return
        found = read_file(file.path, left)
        left = None if left is None else left - len(found.rows)
        columns = _columns(spec, found.columns, file.place)
        yield from (
            BenchmarkRow(f"{file.place} row {row.number}", _cells(row), columns)
            for row in found.rows
        )


def _cells(row: FileRow) -> Mapping[str, Any]:
    return {} if isinstance(row.content, Rejection) else row.content


def _columns(spec: BenchmarkSpec, there: Sequence[str], place: str) -> dict[str, str]:
    """Field → column.

    Raises:
        SetupError: a column that is needed, or was named, is not there.
    """
    shape = spec.benchmark
    for name, column in spec.columns.items():
        if name not in shape.fields:
            raise unknown("field", name, shape.fields, f"{spec}: columns")
        if column not in there:
            raise unknown("column", column, there, f"{spec}: {place}")
    usual = {
        name: next((c for c in names if c in there), None) for name, names in shape.fields.items()
    }
    found: dict[str, str | None] = {**usual, **spec.columns}
    for name, there_or_none in found.items():
        if there_or_none is None and name not in shape.optional:
            names = " or ".join(f"'{column}'" for column in shape.fields[name])
            raise SetupError(
                f"{spec}: {place}: no column {names}; set columns.{name}. Found: {', '.join(there)}"
            )
    return {name: column for name, column in found.items() if column is not None}
