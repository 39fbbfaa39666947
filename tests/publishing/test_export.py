"""Exports: files in a trainer's format."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import from_frame
from aidsafe_dagster.publishing.batch_rows import Judging
from aidsafe_dagster.publishing.dataset import SPLITS
from aidsafe_dagster.publishing.export import write_export
from aidsafe_dagster.publishing.parquet import DataFile
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.formats import FORMATS
from aidsafe_dagster.recipe.preference_pairs import PairSettings
from aidsafe_dagster.recipe.records import FineTuneRow, Stage
from tests.builders import policies
from tests.publishing.lakes import a_filled_lake, fill

JUDGING = Judging(policies(), PairSettings())
BY_GRADE = ("kto", "reward", "guard")
"""Kinds of rows that not every prompt gives."""


def export(lake: Lake, folder: Path, name: str, **options: Any) -> list[DataFile]:
    splits = options.pop("splits", SPLITS)
    batches = tuple(lake.batches(Stage.FINE_TUNE_SPLITS))
    return write_export(
        lake, batches, FORMATS[name], folder, splits, JUDGING, **options
    )


def count_rows(files: list[DataFile]) -> int:
    return sum(file.rows or 0 for file in files)


def read(file: Path) -> list[dict[str, Any]]:
    if file.suffix == ".parquet":
        return pq.read_table(file).to_pylist()  # type: ignore[no-any-return]
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


@pytest.mark.parametrize(
    "name", [name for name in FORMATS if FORMATS[name].rows not in BY_GRADE]
)
@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_every_row_of_a_split_is_in_its_file_for_both_file_kinds(
    tmp_path: Path, name: str, kind: str
) -> None:
    lake = a_filled_lake(tmp_path)
    files = export(lake, tmp_path / "out", name, file_kind=kind)
    assert {file.path for file in files} == {
        f"{name}-{split}.{kind}" for split in SPLITS
    }
    row_kind = "dpo" if FORMATS[name].rows == "dpo" else "sft"
    rows = lake.all_rows(Stage.FINE_TUNE_SPLITS)
    assert rows is not None
    for split in SPLITS:
        exported = read(tmp_path / "out" / f"{name}-{split}.{kind}")
        expected = from_frame(rows.filter(kind=row_kind, split=split), FineTuneRow)
        assert {row["prompt_id"] for row in exported} == {
            row.prompt_id for row in expected
        }
        for row in exported:
            assert list(row) == list(FORMATS[name].columns)


def test_a_single_split_can_be_exported(tmp_path: Path) -> None:
    (file,) = export(a_filled_lake(tmp_path), tmp_path, "trl-sft", splits=("test",))
    assert file.path == "trl-sft-test.parquet"


def test_reasoning_can_go_into_a_field(tmp_path: Path) -> None:
    (file,) = export(
        a_filled_lake(tmp_path),
        tmp_path,
        "trl-sft",
        splits=("train",),
        reasoning="field",
    )
    for row in read(tmp_path / file.path):
        assert row["messages"][1]["reasoning_content"] == row["thinking"]
        assert row["messages"][1]["content"] == row["response"]


def test_llama_factory_finds_both_sets_in_one_index(tmp_path: Path) -> None:
    lake = a_filled_lake(tmp_path)
    export(lake, tmp_path / "out", "llama-factory-sft", splits=("train",))
    export(lake, tmp_path / "out", "llama-factory-dpo", splits=("train",))
    info = json.loads((tmp_path / "out" / "dataset_info.json").read_text())
    entries = {
        name: (entry["file_name"], entry["ranking"]) for name, entry in info.items()
    }
    assert entries == {
        "aidsafe_sft_train": ("llama-factory-sft-train.jsonl", False),
        "aidsafe_dpo_train": ("llama-factory-dpo-train.jsonl", True),
    }
    for entry in info.values():
        (first, *_) = read(tmp_path / "out" / entry["file_name"])
        assert set(entry["columns"].values()) <= set(first)


def test_an_index_that_is_not_json_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").write_text("{")
    with pytest.raises(SetupError, match=r"dataset_info\.json: not JSON"):
        export(a_filled_lake(tmp_path), tmp_path, "llama-factory-sft")


def test_the_file_names_of_simulated_rows_start_with_rehearsal(tmp_path: Path) -> None:
    files = export(
        a_filled_lake(tmp_path, simulated=True), tmp_path, "trl-sft", simulated=True
    )
    assert {file.path[:10] for file in files} == {"rehearsal-"}


def test_the_general_mix_applies_to_exports(tmp_path: Path) -> None:
    lake = a_filled_lake(tmp_path, "harmful-0001", kind="harmful")
    fill(lake, "general-0001", prompts=30, kind="benign")
    files = export(lake, tmp_path, "trl-sft", general_ratio=0.0)
    assert count_rows(files) == 8


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_without_rows_neither_file_nor_folder_is_written(
    tmp_path: Path, kind: str
) -> None:
    out = tmp_path / "new" / "out"
    lake = Lake(tmp_path / "lake")
    assert export(lake, out, "trl-dpo", file_kind=kind) == []
    assert not out.parent.exists()


@pytest.mark.parametrize("name", ["trl-dpo", "llama-factory-dpo"])
def test_a_batch_without_pairs_leaves_an_earlier_export_and_its_folder(
    tmp_path: Path, name: str
) -> None:
    batch = "demo-0001"
    lake = a_filled_lake(tmp_path, batch)
    out = tmp_path / "out"
    export(lake, out, name)
    files = sorted(out.iterdir())
    rows = lake.rows(Stage.FINE_TUNE_SPLITS, batch).filter(kind="sft")
    failures = lake.failures(Stage.FINE_TUNE_SPLITS, batch)
    lake.write(Stage.FINE_TUNE_SPLITS, batch, rows, failures)
    assert export(lake, out, name) == []
    assert sorted(out.iterdir()) == files


def test_an_export_that_fails_half_way_leaves_no_folder_behind(tmp_path: Path) -> None:
    lake = a_filled_lake(tmp_path, "demo-0001")
    batches = ("demo-0001", "gone-0001")
    out = tmp_path / "new" / "out"
    with pytest.raises(SetupError, match="gone-0001"):
        write_export(lake, batches, FORMATS["trl-sft"], out, SPLITS, JUDGING)
    assert not out.parent.exists()


def test_an_export_replaces_an_earlier_one(tmp_path: Path) -> None:
    lake = a_filled_lake(tmp_path, "demo-0001")
    first = export(lake, tmp_path, "trl-sft")
    assert export(lake, tmp_path, "trl-sft") == first
    fill(lake, "demo-0002")
    assert count_rows(export(lake, tmp_path, "trl-sft")) == 16


def test_an_export_that_fails_midway_leaves_existing_files_alone(
    tmp_path: Path,
) -> None:
    lake, out = a_filled_lake(tmp_path), tmp_path / "out"
    export(lake, out, "trl-sft")
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    last_batch = lake.batches(Stage.FINE_TUNE_SPLITS)[-1]
    partition = lake.rows_path(Stage.FINE_TUNE_SPLITS, last_batch)
    Path(str(partition)).write_bytes(b"truncated")
    with pytest.raises(SetupError, match="not a readable Parquet file"):
        export(lake, out, "trl-sft")
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
