from collections.abc import Mapping
from pathlib import Path

import polars as pl

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.training.data import dataset_version, write_training_set
from tests.training.sites import put, some_rows


def a_lake(folder: Path) -> Lake:
    lake = Lake(folder / "lake")
    put(lake, "a-0001", some_rows(5))
    put(lake, "b-0001", some_rows(10, "q", licence="MIT"))
    return lake


def test_each_row_goes_to_the_file_of_its_method_and_split(tmp_path: Path) -> None:
    data = write_training_set(a_lake(tmp_path), ["a-0001", "b-0001"], tmp_path)
    assert data.rows == {
        "sft_train": 9,
        "sft_validation": 3,
        "sft_test": 3,
        "dpo_train": 9,
        "dpo_validation": 3,
        "dpo_test": 3,
    }
    ids = pl.read_parquet(data.file("sft", "validation"))["prompt_id"].to_list()
    assert ids == ["p3", "q3", "q8"]
    assert data.licences == {"MIT": 20, "cc-by-4.0": 10}
    assert not data.simulated


def test_the_columns_are_those_of_the_trainer(tmp_path: Path) -> None:
    data = write_training_set(a_lake(tmp_path), ["a-0001"], tmp_path)
    sft, dpo = (
        pl.read_parquet(data.file(method, "train")) for method in ("sft", "dpo")
    )
    assert sft.columns == ["messages", "prompt_id"]
    assert dpo.columns == ["prompt", "chosen", "rejected", "prompt_id"]
    assert [message["role"] for message in sft["messages"][0]] == ["user", "assistant"]
    roles = [dpo[column][0][0]["role"] for column in ("prompt", "chosen", "rejected")]
    assert roles == ["user", "assistant", "assistant"]


def test_the_same_batches_give_the_same_version_place_and_bytes(tmp_path: Path) -> None:
    lake = a_lake(tmp_path)
    first = write_training_set(lake, ["a-0001", "b-0001"], tmp_path)
    contents = {file.name: file.read_bytes() for file in first.folder.iterdir()}
    second = write_training_set(lake, ["b-0001", "a-0001"], tmp_path)
    assert second == first
    assert {
        file.name: file.read_bytes() for file in second.folder.iterdir()
    } == contents


def test_other_rows_make_another_version(tmp_path: Path) -> None:
    lake = a_lake(tmp_path)
    version = dataset_version(lake)
    assert version == dataset_version(lake, ["a-0001", "b-0001"])
    assert version != dataset_version(lake, ["a-0001"])
    put(lake, "a-0001", some_rows(5, response="Another answer."))
    assert dataset_version(lake) != version


def test_one_simulated_row_marks_the_whole_set(tmp_path: Path) -> None:
    lake = a_lake(tmp_path)
    put(lake, "c-0001", [*some_rows(2, "r"), *some_rows(1, "s", simulated=True)])
    assert write_training_set(lake, ["a-0001", "c-0001"], tmp_path).simulated


def test_the_general_mix_drops_benign_rows_and_makes_another_version(
    tmp_path: Path,
) -> None:
    lake = a_lake(tmp_path)
    benign = [
        row.model_copy(update={"prompt_kind": "benign"}) for row in some_rows(5, "g")
    ]
    put(lake, "g-0001", [*benign, *some_rows(2, "h")])
    everything = write_training_set(lake, ["g-0001"], tmp_path)
    without = write_training_set(lake, ["g-0001"], tmp_path, general_ratio=0.0)
    assert _count_sft(everything.rows) - _count_sft(without.rows) == 5
    assert without.version != everything.version
    assert without.rows["dpo_train"] == everything.rows["dpo_train"]


def _count_sft(rows: Mapping[str, int]) -> int:
    return sum(count for name, count in rows.items() if name.startswith("sft"))
