"""The lake: a Parquet file per asset and batch, its failures beside it.

    <root>/<table>/batch=<key>/rows.parquet
    <root>/<table>/batch=<key>/failures.parquet
    <root>/<table>/_schema/…                     the same files with no rows: lets a view exist before the first batch

A file appears whole or not at all: on a local disk by writing beside it and renaming, on an object store because a put
is atomic. The failures are written first, so rows never stand without the account of those that are missing.
"""

import hashlib
import io
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl
from upath import UPath

from aidsafe_dagster.lake.tables import schema_of
from aidsafe_dagster.primitives.atomic_write import atomic_write
from aidsafe_dagster.recipe.errors import SetupError, not_installed
from aidsafe_dagster.recipe.records import (
    CotGrades,
    DeliberatedCot,
    Failure,
    FineTuneRow,
    PreferencePair,
    Prompt,
    Record,
    RefinedCot,
    SeedCot,
    SingleLlmCot,
    Stage,
)

RECORDS: Mapping[Stage, type[Record]] = {
    Stage.PROMPTS: Prompt,
    Stage.SINGLE_LLM_COTS: SingleLlmCot,
    Stage.SEED_COTS: SeedCot,
    Stage.DELIBERATED_COTS: DeliberatedCot,
    Stage.REFINED_COTS: RefinedCot,
    Stage.COT_GRADES: CotGrades,
    Stage.PREFERENCE_PAIRS: PreferencePair,
    Stage.FINE_TUNE_SPLITS: FineTuneRow,
}
_BATCH_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_REMEDIES: Mapping[str, str] = {
    "ingested": "ingest its source again: that puts the batch back as it was, from the copy in sealed_copies",
    "dropped_prompts": "remove it and ingest again: what it told of is written down anew",
}
"""What to do about a damaged file, by table, where making the batch again does not help."""


class Lake:
    """Reads and writes partitions; `root` is a local path or any fsspec URL."""

    def __init__(self, root: str | Path) -> None:
        self.root = UPath(root)
        self.local = self.root.protocol in ("", "file", "local")
        if self.local:
            self.root = UPath(self.root.path)
        else:  # other hosts write too: what a folder held a minute ago proves nothing
            self.root = _elsewhere(root)

    def rows_path(self, table: str, batch: str) -> UPath:
        return self._folder(table, batch) / "rows.parquet"

    def write(
        self, table: str, batch: str, rows: pl.DataFrame, failures: pl.DataFrame | None = None
    ) -> None:
        """Stores a partition; the rows file is the last to appear."""
        if failures is not None:
            self._put(self._folder(table, batch) / "failures.parquet", _parquet(failures))
        self._put(self.rows_path(table, batch), _parquet(rows))

    def copy(self, batch: str, *, source: str, target: str) -> None:
        """Puts a partition's rows into another table, byte for byte.

        Raises:
            SetupError: the source was not made, or is damaged.
        """
        self.rows(source, batch)
        self._put(self.rows_path(target, batch), self.rows_path(source, batch).read_bytes())

    def rows(self, table: str, batch: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """The rows of a partition; of these columns, those that are there.

        Raises:
            SetupError: it was not made yet, or its file is damaged.
        """
        path = self.rows_path(table, batch)
        if not path.exists():
            raise SetupError(f"{path}: batch '{batch}' of '{table}' was not made yet")
        return _read(path, columns)

    def failures(self, table: str, batch: str) -> pl.DataFrame:
        """The failed rows of a partition, none if it was not made yet."""
        path = self._folder(table, batch) / "failures.parquet"
        return _read(path) if path.exists() else pl.DataFrame(schema=schema_of(Failure))

    def has(self, table: str, batch: str) -> bool:
        return self.rows_path(table, batch).exists()

    def batches(self, table: str) -> list[str]:
        """Keys of the batches made so far, sorted."""
        folder = self.root / table
        if not folder.exists():
            return []
        made = (path for path in folder.iterdir() if (path / "rows.parquet").exists())
        return sorted(
            path.name.removeprefix("batch=") for path in made if path.name.startswith("batch=")
        )

    def all_rows(self, table: str, columns: list[str] | None = None) -> pl.DataFrame | None:
        """Rows of all batches, None if there is no batch. What an older release did not write is null."""
        frames = [self.rows(table, batch, columns) for batch in self.batches(table)]
        if frames and table in RECORDS:
            frames.insert(0, pl.DataFrame(schema=schema_of(RECORDS[Stage(table)])))
        chosen = [_chosen(frame, columns) if columns else frame for frame in frames]
        return pl.concat(chosen, how="diagonal_relaxed") if chosen else None

    def fingerprint(self, table: str, batch: str) -> str:
        """Hash of a partition's bytes: a gate's verdict holds for these and no others."""
        digest = hashlib.blake2b(digest_size=16)
        for name in ("rows.parquet", "failures.parquet"):
            path = self._folder(table, batch) / name
            digest.update(path.read_bytes() if path.exists() else b"-")
        return digest.hexdigest()

    def put_schema(self, table: str, record: type[Record]) -> None:
        """Makes sure that the table exists, with no rows."""
        for name, schema in (
            ("rows.parquet", schema_of(record)),
            ("failures.parquet", schema_of(Failure)),
        ):
            path = self.root / table / "_schema" / name
            if _schema_in(path) != schema:
                self._put(path, _parquet(pl.DataFrame(schema=schema)))

    def _folder(self, table: str, batch: str) -> UPath:
        if not _BATCH_KEY.fullmatch(batch) or ".." in batch:
            raise SetupError(
                f"'{batch}' is not a batch key: letters, digits, '.', '_' and '-' alone; delete that partition"
            )
        return self.root / table / f"batch={batch}"

    def _put(self, path: UPath, content: bytes) -> None:
        if not self.local:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            return
        with atomic_write(Path(str(path))) as beside, beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


def _chosen(frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    absent = [pl.lit(None).alias(name) for name in columns if name not in frame.columns]
    return frame.with_columns(absent).select(columns)


def _elsewhere(root: str | Path) -> UPath:
    path = UPath(root, use_listings_cache=False)
    try:
        _ = path.fs
    except ImportError as error:
        raise not_installed(error, f"lake {root}", "cluster") from error
    return path


def _schema_in(path: UPath) -> pl.Schema | None:
    """None of a file that is not there, or damaged."""
    try:
        return _read(path).schema if path.exists() else None
    except SetupError:
        return None


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def _read(path: UPath, columns: Sequence[str] | None = None) -> pl.DataFrame:
    try:
        content = path.read_bytes()
        there = pl.read_parquet_schema(io.BytesIO(content)) if columns else {}
        return pl.read_parquet(
            io.BytesIO(content), columns=[name for name in columns or () if name in there] or None
        )
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        remedy = _REMEDIES.get(path.parent.parent.name, "remove it and make the batch again")
        raise SetupError(f"{path}: not a readable Parquet file ({error}); {remedy}") from error
