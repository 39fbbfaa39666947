"""The rows that a report covers, read by column.

A report covers the rows that models made. It covers simulated rows only if there are no others.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import polars as pl

from aidsafe_dagster.lake.earlier_layouts import OtherLayout, to_record
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import schema_of
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import (
    BELIEF_CANDIDATES,
    Failure,
    Record,
    TriedBelief,
    Usage,
)
from aidsafe_dagster.recipe.stages import STAGES

R = TypeVar("R", bound=Record)
FrameTransform = Callable[[pl.DataFrame], pl.DataFrame]


@dataclass(frozen=True)
class Dataset:
    """The batches of a lake that a report covers.

    Simulated rows never mix with a model's. A batch counts as simulated if any of its rows is.
    """

    lake: Lake
    batches: frozenset[str]
    simulated: bool
    left_out: int
    """Number of simulated batches that the report does not cover."""

    def batches_of(self, stage: str) -> list[str]:
        """Return the covered batches that have reached this stage."""
        return [batch for batch in self.lake.batches(stage) if batch in self.batches]

    def rows(
        self, stage: str, *columns: str, prompt_ids: Collection[str] | None = None
    ) -> pl.DataFrame:
        """Return columns of a stage's rows; no rows if no batch has reached the stage.

        Args:
            stage: the stage to read, or the table of tried beliefs.
            columns: the columns to return.
            prompt_ids: return only the rows of these prompts; None: of all prompts.

        Raises:
            SetupError: a file is damaged.
        """
        return _read_columns(
            self.lake,
            stage,
            self.batches_of(stage),
            columns,
            prompt_ids,
        )

    def map_batches(
        self, stage: str, columns: Sequence[str], transform: FrameTransform
    ) -> pl.DataFrame:
        """Read a stage one batch at a time, transform each batch and concatenate the results.

        Use it for columns of long text, of which only a few fields are needed: the text of one
        batch is in memory at a time.

        Raises:
            SetupError: a file is damaged.
        """
        # The empty frame gives the result its columns where there is no batch.
        frames = [transform(_read_columns(self.lake, stage, [], columns))]
        for batch in self.batches_of(stage):
            rows = _read_columns(self.lake, stage, [batch], columns)
            frames.append(transform(rows))
        return pl.concat(frames)

    @cached_property
    def failures(self) -> pl.DataFrame:
        """The failed rows of all stages."""
        frames = [pl.DataFrame(schema=schema_of(Failure))]
        for stage in STAGES:
            for batch in self.batches_of(stage):
                failures = self.lake.failures(stage, batch)
                frames.append(failures)
        return pl.concat(frames, how="diagonal_relaxed")


def open_dataset(lake: Lake, chosen: Collection[str] = ()) -> Dataset:
    """Open the batches of a lake, without the simulated ones if there are others.

    Args:
        lake: holds them.
        chosen: these batches alone; empty: all.

    Raises:
        OtherLayout: a later release wrote one of them.
    """
    batches: set[str] = set()
    simulated_flags = []
    for stage, definition in STAGES.items():
        # A batch may have failures alone. It then has no row that says who made it.
        stage_batches = lake.batches(stage)
        if chosen:
            stage_batches = [batch for batch in stage_batches if batch in chosen]
        # The columns are read by a scan, which would pass over what a later release added.
        for batch in stage_batches:
            lake.require_known_layout(stage, batch)
        batches.update(stage_batches)
        if "simulated" in definition.record.model_fields:
            columns = ("batch", "simulated")
            simulated_flags.append(_read_columns(lake, stage, stage_batches, columns))
    flags = pl.concat(simulated_flags)
    simulated = frozenset(flags.filter("simulated")["batch"].unique())
    all_flagged = set(flags["batch"].unique())
    # Some batch has rows of a model alone, so the simulated ones are left out.
    if all_flagged - simulated:
        covered = frozenset(batches - simulated)
        return Dataset(lake, covered, simulated=False, left_out=len(simulated))
    return Dataset(
        lake,
        frozenset(batches),
        simulated=bool(simulated),
        left_out=0,
    )


def read_records(
    dataset: Dataset,
    stage: str,
    record: type[R],
    prompt_ids: Collection[str] | None = None,
) -> dict[str, R]:
    """Return whole rows by prompt id, of all prompts or of these.

    Rows of an older release are completed, and left out where nothing true can be said of what they
    lack. The conversation is not read: it repeats the same text and is most of a file.
    """
    columns = [name for name in record.model_fields if name != "conversation"]
    defaults: dict[str, object] = {}
    if "conversation" in record.model_fields:
        defaults["conversation"] = ()
    records = {}
    rows = dataset.rows(stage, *columns, prompt_ids=prompt_ids)
    for row in rows.iter_rows(named=True):
        with suppress(OtherLayout):
            records[row["prompt_id"]] = to_record(row | defaults, record)
    return records


def _read_columns(
    lake: Lake,
    stage: str,
    batches: Sequence[str],
    columns: Sequence[str],
    prompt_ids: Collection[str] | None = None,
) -> pl.DataFrame:
    """Read columns of several files. What an older release did not write is null."""
    full_schema = schema_of(_record_of(stage))
    # The prompt id is always read, because the rows are filtered by it.
    names = ("prompt_id", *columns)
    schema = pl.Schema({name: full_schema[name] for name in names})
    if not batches:
        return pl.DataFrame(schema=schema).select(columns)
    try:
        rows = pl.scan_parquet(
            _parquet_sources(lake, stage, batches),
            schema=schema,
            missing_columns="insert",
            extra_columns="ignore",
            cast_options=pl.ScanCastOptions(
                missing_struct_fields="insert", extra_struct_fields="ignore"
            ),
            # A folder's name may hold the signs of a pattern.
            hive_partitioning=False,
            glob=False,
        )
        if prompt_ids is not None:
            rows = rows.filter(pl.col("prompt_id").is_in(list(prompt_ids)))
        return _fill_usage(rows.select(columns).collect())
    except (pl.exceptions.PolarsError, OSError) as error:
        # The scan does not say which file is at fault. Reading them one by one does: it raises
        # an error that names the file, if one is damaged.
        for batch in batches:
            lake.rows(stage, batch)
        raise SetupError(
            f"{lake.root / stage}: its files do not fit together ({error})"
        ) from error


def _record_of(table: str) -> type[Record]:
    if table == BELIEF_CANDIDATES:
        return TriedBelief
    return STAGES[table].record


def _fill_usage(rows: pl.DataFrame) -> pl.DataFrame:
    """Set to 0 what an older release did not count: reasoning tokens and cost."""
    if "usage" not in rows.columns:
        return rows
    counts = [pl.field(name).fill_null(0) for name in Usage.model_fields]
    filled = pl.col("usage").struct.with_fields(*counts)
    # A file without the column at all stays null.
    is_known = pl.col("usage").is_not_null()
    return rows.with_columns(pl.when(is_known).then(filled).alias("usage"))


def _parquet_sources(
    lake: Lake, stage: str, batches: Sequence[str]
) -> list[str] | list[bytes]:
    """Return paths of local files, or the bytes of files in an object store."""
    paths = [lake.rows_path(stage, batch) for batch in batches]
    # Polars reads paths of this machine lazily. It has no access to the lake's object store.
    if lake.local:
        return list(map(str, paths))
    return [path.read_bytes() for path in paths]
