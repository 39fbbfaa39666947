"""Rows in a trainer's format, as files on this machine.

<folder>/<format>-<split>.parquet or .jsonl
<folder>/dataset_info.json                  what LLaMA-Factory looks for
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.publishing.batches import Batch, read_batch
from aidsafe_dagster.publishing.dataset import general_mix
from aidsafe_dagster.publishing.parquet import DataFile, arrow_schema, data_file, parquet_writer
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.fine_tune_splits import Split
from aidsafe_dagster.recipe.formats import Format, Reasoning, llama_factory_info

FileKind = Literal["parquet", "jsonl"]
_INFO = "dataset_info.json"
_LABEL = "rehearsal-"
"""In the name of a file with simulated rows."""


def write_export(
    lake: Lake,
    batches: tuple[str, ...],
    wanted: Format,
    folder: Path,
    splits: Sequence[Split],
    *,
    reasoning: Reasoning = "inline",
    file_kind: FileKind | None = None,
    general_ratio: float | None = None,
    simulated: bool = False,
) -> list[DataFile]:
    """Writes a file per split that has rows; files of the same names are replaced.

    Raises:
        SetupError: there is no row.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mix, _ = general_mix(lake, batches, general_ratio)
    kind = file_kind or wanted.file
    names = {
        split: f"{_LABEL if simulated else ''}{wanted.name}-{split}.{kind}" for split in splits
    }
    make = _ParquetFile if kind == "parquet" else _JsonLines
    files = {
        split: make(folder / name, arrow_schema(wanted.columns, reasoning))
        for split, name in names.items()
    }
    try:
        for batch in (read_batch(lake, key, mix) for key in batches):
            for split, file in files.items():
                file.add(list(_rows(batch, wanted, split, reasoning)))
        written = [
            data_file(folder, names[split], file.rows)
            for split, file in files.items()
            if file.appears()
        ]
    finally:
        for file in files.values():
            file.clear_away()
    if not written:
        raise SetupError(f"export: no row for '{wanted.name}' in {', '.join(splits)}")
    if wanted.name.startswith("llama-factory"):
        _describe(folder, written, ranking=wanted.rows == "dpo")
    return written


def _rows(
    batch: Batch, wanted: Format, split: Split, reasoning: Reasoning
) -> Iterator[dict[str, Any]]:
    if wanted.rows == "deliberations":
        yield from (
            wanted.convert(story, reasoning)
            for row, story in batch.deliberations
            if row.split == split
        )
    else:
        rows = batch.dpo if wanted.rows == "dpo" else batch.sft
        yield from (wanted.convert(row, reasoning) for row in rows if row.split == split)


class _File(ABC):
    """Written batch after batch beside its place; without rows it never appears."""

    def __init__(self, path: Path, schema: Any) -> None:
        self.rows, self._path, self._schema = 0, path, schema
        self._beside = path.with_name(f".{path.name}")
        self._out = self._open()

    def add(self, rows: list[dict[str, Any]]) -> None:
        if rows:
            self._write(rows)
            self.rows += len(rows)

    def appears(self) -> bool:
        """Puts it in its place; False if there is nothing to put."""
        self._out.close()
        if self.rows:
            self._beside.replace(self._path)
        return self.rows > 0

    def clear_away(self) -> None:
        """What did not appear."""
        self._out.close()
        self._beside.unlink(missing_ok=True)

    @abstractmethod
    def _open(self) -> Any: ...

    @abstractmethod
    def _write(self, rows: list[dict[str, Any]]) -> None: ...


class _JsonLines(_File):
    def _open(self) -> Any:
        return self._beside.open("w", encoding="utf-8")

    def _write(self, rows: list[dict[str, Any]]) -> None:
        self._out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


class _ParquetFile(_File):
    """A row group a batch."""

    def _open(self) -> Any:
        return parquet_writer(self._beside, self._schema)

    def _write(self, rows: list[dict[str, Any]]) -> None:
        import pyarrow as pa  # noqa: PLC0415 - needed only here

        self._out.write_table(pa.Table.from_pylist(rows, self._schema))


def _describe(folder: Path, files: Sequence[DataFile], *, ranking: bool) -> None:
    """Adds the files to `dataset_info.json`; entries of others stay."""
    info = folder / _INFO
    try:
        entries = json.loads(info.read_text("utf-8")) if info.exists() else {}
    except ValueError as error:
        raise SetupError(f"{info}: not JSON ({error}); remove it and export again") from error
    for file in files:
        name = Path(file.path).stem.replace("llama-factory", "aidsafe").replace("-", "_")
        entries |= llama_factory_info(name, file.path, ranking=ranking)
    info.write_text(json.dumps(entries, indent=2, ensure_ascii=False) + "\n", "utf-8")
