"""Export rows in a trainer's format to files on this machine.

<folder>/<format>-<split>.parquet or .jsonl
<folder>/dataset_info.json                  the index that LLaMA-Factory reads
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.publishing.batch_rows import BatchRows, Judging
from aidsafe_dagster.publishing.batches import read_batch, with_train_prompts
from aidsafe_dagster.publishing.dataset import general_mix
from aidsafe_dagster.publishing.parquet import (
    DataFile,
    arrow_schema,
    data_file,
    parquet_writer,
)
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.fine_tune_splits import Split
from aidsafe_dagster.recipe.format_types import Format, Reasoning
from aidsafe_dagster.recipe.formats import llama_factory_info

FileKind = Literal["parquet", "jsonl"]
_INFO = "dataset_info.json"
_SIMULATED_PREFIX = "rehearsal-"
"""Starts the name of every file with simulated rows."""


def write_export(
    lake: Lake,
    batches: tuple[str, ...],
    row_format: Format,
    folder: Path,
    splits: Sequence[Split],
    judging: Judging,
    *,
    reasoning: Reasoning = "inline",
    file_kind: FileKind | None = None,
    general_ratio: float | None = None,
    simulated: bool = False,
    without_dpo: Collection[str] = (),
    without_counterfactuals: Collection[str] = (),
    train_prompts: Collection[str] | None = None,
) -> list[DataFile]:
    """Write one file for each split that has rows; files of the same names are replaced.

    Without any row nothing is written, no folder either, and the list is empty. The DPO rows of
    the batches in `without_dpo` are not read, nor the policy counterfactuals of those in
    `without_counterfactuals`. Of the train split, rows of `train_prompts` alone
    are written; None: of all.

    Raises:
        SetupError: a partition or the index is damaged.
    """
    general, _ = general_mix(lake, batches, general_ratio)
    kind = file_kind or row_format.file
    prefix = _SIMULATED_PREFIX if simulated else ""
    writer = _ParquetFile if kind == "parquet" else _JsonLinesFile
    schema = arrow_schema(row_format.columns, reasoning)
    files = dict[Split, _ExportFile]()
    for split in splits:
        name = f"{prefix}{row_format.name}-{split}.{kind}"
        files[split] = writer(folder / name, schema)
    # All splits at once: a batch is read from the lake only once.
    with _no_empty_folder(folder):
        try:
            for key in batches:
                batch = read_batch(
                    lake,
                    key,
                    general,
                    without_dpo=key in without_dpo,
                    without_counterfactuals=key in without_counterfactuals,
                )
                if train_prompts is not None:
                    batch = with_train_prompts(batch, train_prompts)
                rows = BatchRows(batch, judging)
                for split, file in files.items():
                    of_split = rows.of(row_format.rows, split)
                    file.add([row_format.convert(row, reasoning) for row in of_split])
            # Only now, so that a failure above leaves the files of an earlier export in place.
            written = _commit_files(folder, files)
        finally:
            for file in files.values():
                file.discard()
    if written and row_format.name.startswith("llama-factory"):
        _update_info(folder, written, ranking=row_format.rows == "dpo")
    return written


@contextmanager
def _no_empty_folder(folder: Path) -> Iterator[None]:
    """Remove those folders that came into being within the block and hold nothing after it."""
    absent = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    finally:
        for path in absent:
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()


class _ExportFile(ABC):
    """Written batch by batch under a temporary name; `commit` puts it in place.

    File and folder come into being with the first row.
    """

    def __init__(self, path: Path, schema: Any) -> None:
        self.path, self.rows = path, 0
        self._schema = schema
        self._temporary = path.with_name(f".{path.name}")
        self._writer: Any = None

    def add(self, rows: list[dict[str, Any]]) -> None:
        if not rows:
            return
        if self._writer is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = self._open()
        self._write(rows)
        self.rows += len(rows)

    def commit(self) -> bool:
        """Move the file into place; return False, and do nothing, if it has no rows."""
        if self._writer is None:
            return False
        self._writer.close()
        self._temporary.replace(self.path)
        return True

    def discard(self) -> None:
        """Remove the temporary file if it was not moved into place."""
        if self._writer is None:
            return
        self._writer.close()
        self._temporary.unlink(missing_ok=True)

    @abstractmethod
    def _open(self) -> Any: ...

    @abstractmethod
    def _write(self, rows: list[dict[str, Any]]) -> None: ...


class _JsonLinesFile(_ExportFile):
    def _open(self) -> Any:
        return self._temporary.open("w", encoding="utf-8")

    def _write(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            line = json.dumps(row, ensure_ascii=False)
            self._writer.write(line + "\n")


class _ParquetFile(_ExportFile):
    """One row group per batch."""

    def _open(self) -> Any:
        return parquet_writer(self._temporary, self._schema)

    def _write(self, rows: list[dict[str, Any]]) -> None:
        import pyarrow as pa  # noqa: PLC0415 - needed only here

        self._writer.write_table(pa.Table.from_pylist(rows, self._schema))


def _commit_files(folder: Path, files: Mapping[Split, _ExportFile]) -> list[DataFile]:
    committed = [file for file in files.values() if file.commit()]
    return [data_file(folder, file.path.name, file.rows) for file in committed]


def _update_info(folder: Path, files: Sequence[DataFile], *, ranking: bool) -> None:
    """Add the files to `dataset_info.json`; existing entries of other files stay."""
    info = folder / _INFO
    entries = {}
    if info.exists():
        try:
            entries = json.loads(info.read_text("utf-8"))
        except ValueError as error:
            # Overwriting it would lose the entries of the user's other datasets.
            raise SetupError(
                f"{info}: not JSON ({error}); remove it and export again"
            ) from error
    for file in files:
        # The name by which LLaMA-Factory's `dataset` option selects the file.
        stem = Path(file.path).stem
        name = stem.replace("llama-factory", "aidsafe").replace("-", "_")
        entries |= llama_factory_info(name, file.path, ranking=ranking)
    text = json.dumps(entries, indent=2, ensure_ascii=False)
    info.write_text(f"{text}\n", "utf-8")
