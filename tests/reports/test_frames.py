from pathlib import Path

import polars as pl
import pytest

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.reports.frames import open_dataset
from tests.builders import a_cot_grades, a_failure, a_pair, a_refined_cot, a_seed_cot
from tests.reports.builders import a_dataset, a_lake, a_report, find_section, graded


def test_simulated_rows_never_mix_with_rows_of_a_model(tmp_path: Path) -> None:
    a_lake(
        tmp_path,
        "play-0001",
        seed_cots=[a_seed_cot(batch="play-0001", simulated=True)],
    )
    mixed = {"batch": "mixed-0001", "prompt_id": "m"}
    seed, simulated = a_seed_cot(**mixed), a_refined_cot(**mixed, simulated=True)
    a_lake(tmp_path, "mixed-0001", seed_cots=[seed], refined_cots=[simulated])
    lake = a_lake(
        tmp_path,
        "real-0001",
        seed_cots=[a_seed_cot(prompt_id="r", batch="real-0001")],
    )
    dataset = open_dataset(lake)
    assert dataset.batches == {"real-0001"}
    assert dataset.rows(Stage.SEED_COTS, "prompt_id")["prompt_id"].to_list() == ["r"]
    assert not dataset.simulated
    assert dataset.left_out == 2
    report = a_report(lake)
    assert report.simulation_warning == ""
    assert report.facts["Left out"] == "2 simulated batches"


def test_a_report_on_simulated_rows_carries_a_warning(tmp_path: Path) -> None:
    lake = a_lake(
        tmp_path,
        cot_grades=[graded("p1", refined=5).model_copy(update={"simulated": True})],
    )
    assert open_dataset(lake).simulated
    assert a_report(lake).simulation_warning.startswith(
        "Rehearsal: every answer was simulated by rule"
    )


def test_missing_columns_of_an_older_release_are_null(tmp_path: Path) -> None:
    lake = a_lake(tmp_path, preference_pairs=[a_pair(prompt_id="new")])
    a_lake(
        tmp_path,
        "demo-0000",
        preference_pairs=[a_pair(prompt_id="old", batch="demo-0000")],
    )
    path = Path(str(lake.rows_path(Stage.PREFERENCE_PAIRS, "demo-0000")))
    pl.read_parquet(path).drop(
        "kind", "margin", "candidates", "plain_scores", "prompt_kind"
    ).write_parquet(path)
    rows = open_dataset(lake).rows(
        Stage.PREFERENCE_PAIRS, "prompt_id", "kind", "margin", "candidates"
    )
    assert rows.drop("candidates").rows() == [
        ("old", None, None),
        ("new", "violation", 3.5),
    ]
    assert find_section(a_report(lake), "Preference pairs").tables[0].rows[0][1] == "1"


def test_missing_nested_fields_of_an_older_release_are_null(tmp_path: Path) -> None:
    lake = a_lake(tmp_path, cot_grades=[a_cot_grades()])
    path = Path(str(lake.rows_path(Stage.COT_GRADES, "demo-0001")))
    older = pl.col("comparisons").list.eval(
        pl.struct(pl.element().struct.field("version", "outcome"))
    )
    pl.read_parquet(path).with_columns(older).write_parquet(path)
    (comparisons,) = (
        open_dataset(lake)
        .rows(Stage.COT_GRADES, "comparisons")["comparisons"]
        .to_list()
    )
    assert comparisons[0]["outcome"] == "win"
    assert comparisons[0]["consistent"] is None


def test_the_error_for_a_damaged_file_names_it(tmp_path: Path) -> None:
    lake = a_lake(tmp_path, seed_cots=[a_seed_cot()])
    Path(str(lake.rows_path(Stage.SEED_COTS, "demo-0001"))).write_bytes(b"PAR1 cut off")
    with pytest.raises(
        SetupError,
        match=r"seed_cots/batch=demo-0001/rows.parquet: not a readable Parquet file",
    ):
        open_dataset(lake)


@pytest.mark.parametrize("name", ["it's 100% mine?", "mine [1]*"])
def test_a_lake_may_be_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    assert (
        a_dataset(tmp_path / name, seed_cots=[a_seed_cot()])
        .rows(Stage.SEED_COTS, "prompt_id")
        .height
        == 1
    )


def test_an_object_store_is_read_like_a_disk(tmp_path: Path) -> None:
    lake = Lake(f"memory://{tmp_path.name}/frames")
    disk = a_lake(tmp_path, seed_cots=[a_seed_cot()])
    lake.write(
        Stage.SEED_COTS,
        "demo-0001",
        disk.rows(Stage.SEED_COTS, "demo-0001"),
    )
    assert open_dataset(lake).rows(Stage.SEED_COTS, "prompt_id").height == 1


def test_a_batch_with_only_failures_is_part_of_the_report(tmp_path: Path) -> None:
    dataset = a_dataset(tmp_path, failures=[a_failure()], seed_cots=[])
    assert dataset.failures["prompt_id"].to_list() == ["p9"]
