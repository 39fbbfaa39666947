"""Many partitions in one pass: the same rows as one by one, whatever the files are like."""

from pathlib import Path

import polars as pl
import pytest

from aidsafe_dagster.lake.batched_reading import read_together, rows_by_batch
from aidsafe_dagster.lake.earlier_layouts import LAYOUT, LAYOUT_KEY, OtherLayout
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.errors import SetupError

TABLE = "numbers"
COLUMNS = ["number", "name"]
ROWS = {
    "b-0001": pl.DataFrame({"number": [1, 2], "name": ["one", "two"]}),
    # A batch of which nothing came out.
    "b-0002": pl.DataFrame(schema={"number": pl.Int64, "name": pl.String}),
    "b-0003": pl.DataFrame({"number": [3], "name": ["three"]}),
}


def a_lake_of(folder: Path, **more: pl.DataFrame) -> Lake:
    lake = Lake(folder / "lake")
    for batch, rows in {**ROWS, **more}.items():
        lake.write(TABLE, batch, rows)
    return lake


def read_alone(lake: Lake) -> dict[str, list[dict[str, object]]]:
    batches = lake.batches(TABLE)
    return {batch: lake.rows(TABLE, batch, COLUMNS).to_dicts() for batch in batches}


def read_in_one_pass(lake: Lake) -> dict[str, list[dict[str, object]]]:
    batches = lake.batches(TABLE)
    frames = rows_by_batch(lake, TABLE, batches, COLUMNS)
    return {batch: rows.to_dicts() for batch, rows in frames}


def test_the_rows_are_those_of_each_partition(tmp_path: Path) -> None:
    lake = a_lake_of(tmp_path)
    assert read_together(lake, TABLE, lake.batches(TABLE), COLUMNS) is not None
    assert read_in_one_pass(lake) == read_alone(lake)
    assert list(read_in_one_pass(lake)) == [*ROWS]


@pytest.mark.parametrize(
    "other",
    [
        {"number": [4]},
        {"number": [4], "name": ["four"], "kind": ["later"]},
        {"number": ["four"], "name": ["four"]},
    ],
)
@pytest.mark.parametrize("batch", ["a-0001", "c-0001"])
def test_files_that_differ_in_their_columns_are_read_one_by_one(
    tmp_path: Path, other: dict[str, list[object]], batch: str
) -> None:
    lake = a_lake_of(tmp_path, **{batch: pl.DataFrame(other)})
    assert read_in_one_pass(lake) == read_alone(lake)
    frames = dict(rows_by_batch(lake, TABLE, lake.batches(TABLE), COLUMNS))
    assert ("name" in frames[batch].columns) == ("name" in other)


def test_a_batch_is_that_of_its_folder_whatever_its_rows_say(tmp_path: Path) -> None:
    rows = pl.DataFrame({"number": [4], "batch": ["b-0009"]})
    lake = Lake(tmp_path)
    lake.write(TABLE, "b-0001", rows)
    lake.write(TABLE, "b-0002", rows)
    frames = dict(rows_by_batch(lake, TABLE, lake.batches(TABLE), ["batch"]))
    assert frames["b-0002"]["batch"].to_list() == ["b-0009"]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    lake = a_lake_of(tmp_path)
    path = Path(str(lake.rows_path(TABLE, "b-0003")))
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(SetupError, match=r"b-0003/rows\.parquet: not a readable"):
        read_in_one_pass(lake)


def test_a_partition_that_is_not_there_is_named(tmp_path: Path) -> None:
    lake = a_lake_of(tmp_path)
    with pytest.raises(SetupError, match="batch 'b-0004' of 'numbers' has not been"):
        dict(rows_by_batch(lake, TABLE, [*ROWS, "b-0004"], COLUMNS))


def test_a_file_of_a_later_release_is_not_read(tmp_path: Path) -> None:
    lake = a_lake_of(tmp_path)
    path = Path(str(lake.rows_path(TABLE, "b-0003")))
    ROWS["b-0003"].write_parquet(path, metadata={LAYOUT_KEY: str(LAYOUT + 1)})
    with pytest.raises(OtherLayout, match="a later release of aidsafe wrote it"):
        read_in_one_pass(lake)
