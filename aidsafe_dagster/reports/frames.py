"""The rows that a report is about, read by column: models' rows, or the rehearsal's where there are no others."""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import polars as pl
from pydantic import ValidationError

from aidsafe_dagster.lake.lake import RECORDS, Lake
from aidsafe_dagster.lake.tables import schema_of
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Failure, Record, Stage

R = TypeVar("R", bound=Record)
Shape = Callable[[pl.DataFrame], pl.DataFrame]


@dataclass(frozen=True)
class Dataset:
    """The batches of a lake that a report is about.

    Simulated rows never mix with a model's: a batch counts as simulated as soon as one of its rows is, and is left out
    when there are others.
    """

    lake: Lake
    batches: frozenset[str]
    simulated: bool
    left_out: int
    """Simulated batches that are not in the report."""

    def made(self, stage: Stage) -> list[str]:
        """The batches of the report in which the stage was made."""
        return [batch for batch in self.lake.batches(stage) if batch in self.batches]

    def rows(
        self, stage: Stage, *columns: str, prompt_ids: Collection[str] | None = None
    ) -> pl.DataFrame:
        """These columns of a stage's rows, of all or of these prompts; no rows where it was not made.

        Raises:
            SetupError: a file is damaged.
        """
        return _read(self.lake, stage, self.made(stage), columns, prompt_ids)

    def map_batches(self, stage: Stage, columns: Sequence[str], shape: Shape) -> pl.DataFrame:
        """What `shape` makes of these columns, batch after batch, where all of their text at once would be much.

        Raises:
            SetupError: a file is damaged.
        """
        parts = [[batch] for batch in self.made(stage)] or [[]]
        return pl.concat([shape(_read(self.lake, stage, part, columns)) for part in parts])

    @cached_property
    def failures(self) -> pl.DataFrame:
        """The failed rows of all stages."""
        frames = [
            self.lake.failures(stage, batch) for stage in RECORDS for batch in self.made(stage)
        ]
        return pl.concat([pl.DataFrame(schema=schema_of(Failure)), *frames], how="diagonal_relaxed")


def open_dataset(lake: Lake) -> Dataset:
    """All batches of a lake, but for simulated ones where there are others."""
    made = {batch for stage in RECORDS for batch in lake.batches(stage)}
    stages = [stage for stage, record in RECORDS.items() if "simulated" in record.model_fields]
    spoke = pl.concat(
        [_read(lake, stage, lake.batches(stage), ("batch", "simulated")) for stage in stages]
    )
    simulated = frozenset(spoke.filter(pl.col("simulated"))["batch"].unique())
    if set(spoke["batch"].unique()) - simulated:
        return Dataset(lake, frozenset(made - simulated), simulated=False, left_out=len(simulated))
    return Dataset(lake, frozenset(made), simulated=bool(simulated), left_out=0)


def read_records(
    dataset: Dataset, stage: Stage, record: type[R], prompt_ids: Collection[str] | None = None
) -> dict[str, R]:
    """Whole rows by prompt id: all, or those of these prompts. Rows of an older release that do not fit are left out.

    The conversation is not read: it holds the same words again, and is most of a file.
    """
    columns = [name for name in record.model_fields if name != "conversation"]
    said = {"conversation": ()} if "conversation" in record.model_fields else {}
    found = {}
    for row in dataset.rows(stage, *columns, prompt_ids=prompt_ids).iter_rows(named=True):
        known = {name: value for name, value in row.items() if value is not None}
        with suppress(ValidationError):
            found[row["prompt_id"]] = record.model_validate(known | said)
    return found


def _read(
    lake: Lake,
    stage: Stage,
    batches: Sequence[str],
    columns: Sequence[str],
    prompt_ids: Collection[str] | None = None,
) -> pl.DataFrame:
    """What an older release did not write, columns or fields in them, is null."""
    full = schema_of(RECORDS[stage])
    wanted = pl.Schema({name: full[name] for name in ("prompt_id", *columns)})
    if not batches:
        return pl.DataFrame(schema=wanted).select(columns)
    try:
        rows = pl.scan_parquet(
            _sources(lake, stage, batches),
            schema=wanted,
            missing_columns="insert",
            extra_columns="ignore",
            cast_options=pl.ScanCastOptions(
                missing_struct_fields="insert", extra_struct_fields="ignore"
            ),
            hive_partitioning=False,
            glob=False,  # a folder's name is no pattern
        )
        chosen = (
            rows if prompt_ids is None else rows.filter(pl.col("prompt_id").is_in(list(prompt_ids)))
        )
        return chosen.select(columns).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        for batch in batches:
            lake.rows(stage, batch)  # names the file, if it is damaged
        raise SetupError(f"{lake.root / stage}: its files do not fit together ({error})") from error


def _sources(lake: Lake, stage: Stage, batches: Sequence[str]) -> list[str] | list[bytes]:
    paths = [lake.rows_path(stage, batch) for batch in batches]
    return [str(path) for path in paths] if lake.local else [path.read_bytes() for path in paths]
