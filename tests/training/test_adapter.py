"""An adapter is trained once, moved into place atomically, and identified by its inputs."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.training.adapter import Adapter, make_adapter
from aidsafe_dagster.training.data import TrainingSet, write_training_set
from aidsafe_dagster.training.lineage import read_lineage
from aidsafe_dagster.training.settings import Method, TrainingSettings
from tests.training.sites import put, some_rows, stand_in


def a_training_set(home: Path, **changes: Any) -> TrainingSet:
    lake = Lake(home / "lake")
    put(lake, "a-0001", some_rows(5, **changes))
    return write_training_set(lake, ["a-0001"], home)


def train_adapter(
    home: Path,
    method: Method = "sft",
    *,
    rows: dict[str, Any] | None = None,
    force: bool = False,
    **changes: Any,
) -> Adapter:
    home.mkdir(parents=True, exist_ok=True)
    values = {"python": stand_in(home), "model": "a-model"} | changes
    data = a_training_set(home, **(rows or {}))
    return make_adapter(
        method, TrainingSettings(**values), data, home, print, force=force
    )


def a_model(folder: Path, weights: str = "weights") -> str:
    folder.mkdir(exist_ok=True)
    (folder / "model.safetensors").write_text(weights)
    return str(folder)


def test_an_adapter_is_stored_under_its_dataset_version_with_its_files(
    tmp_path: Path,
) -> None:
    adapter = train_adapter(tmp_path)
    version = adapter.lineage.dataset_version
    assert adapter.folder == tmp_path / "adapters" / version / "sft"
    names = {file.name for file in adapter.folder.iterdir()}
    assert names == {
        "adapter_model.safetensors",
        "README.md",
        "lineage.json",
        "metrics.jsonl",
    }
    assert read_lineage(adapter.folder) == adapter.lineage
    assert adapter.lineage.base_model == "a-model"
    assert adapter.lineage.batches.keys() == {"a-0001"}
    assert adapter.lineage.licences == {"cc-by-4.0": 10}
    assert adapter.lineage.recipe["steps"]["learning_rate"] == 2e-4
    assert adapter.lineage.result["libraries"] == {"trl": "0"}


def test_the_same_training_is_not_repeated_unless_forced(tmp_path: Path) -> None:
    first = train_adapter(tmp_path)
    again = train_adapter(tmp_path)
    forced = train_adapter(tmp_path, force=True)
    assert [first.reused, again.reused, forced.reused] == [False, True, False]
    assert again.lineage == first.lineage


@pytest.mark.parametrize(
    "change",
    [
        {"rows": {"response": "Another answer."}},
        {"sft": {"epochs": 9}},
        {"model": "another-model"},
    ],
    ids=["rows", "settings", "model"],
)
def test_other_rows_settings_or_models_need_a_new_training(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    first = train_adapter(tmp_path)
    other = train_adapter(tmp_path, **change)
    assert not other.reused
    assert other.lineage.key != first.lineage.key


def test_a_model_folder_is_identified_by_its_contents(tmp_path: Path) -> None:
    model = tmp_path / "model"
    train_adapter(tmp_path, model=a_model(model))
    assert train_adapter(tmp_path, model=a_model(model)).reused
    assert not train_adapter(tmp_path, model=a_model(model, "other weights")).reused


def test_dpo_starts_from_the_sft_adapter_of_the_same_dataset(tmp_path: Path) -> None:
    sft = train_adapter(tmp_path)
    dpo = train_adapter(tmp_path, "dpo")
    work = tmp_path / "training" / dpo.lineage.dataset_version / "dpo"
    config = json.loads((work / "config.json").read_text())
    assert config["from_adapter"] == str(sft.folder)
    assert dpo.lineage.from_adapter == sft.lineage.weights


def test_dpo_is_trained_again_after_the_sft_adapter_has_changed(tmp_path: Path) -> None:
    train_adapter(tmp_path)
    train_adapter(tmp_path, "dpo")
    assert train_adapter(tmp_path, "dpo").reused
    train_adapter(tmp_path, sft={"epochs": 9})
    assert not train_adapter(tmp_path, "dpo").reused


def test_dpo_needs_no_sft_adapter_if_the_settings_say_so(tmp_path: Path) -> None:
    adapter = train_adapter(tmp_path, "dpo", dpo={"from_sft": False})
    assert adapter.lineage.from_adapter == ""


def test_dpo_goes_on_from_an_adapter_that_the_settings_name(tmp_path: Path) -> None:
    earlier = train_adapter(tmp_path / "first")
    start = {"from_adapter": str(earlier.folder)}
    adapter = train_adapter(tmp_path / "next", "dpo", dpo=start)
    assert adapter.lineage.from_adapter == earlier.lineage.weights
    assert train_adapter(tmp_path / "next", "dpo", dpo=start).reused


def test_where_the_adapter_lies_that_dpo_goes_on_from_does_not_count(
    tmp_path: Path,
) -> None:
    earlier = train_adapter(tmp_path / "first")
    moved = tmp_path / "moved"
    shutil.copytree(earlier.folder, moved)
    before = {"from_adapter": str(earlier.folder)}
    first = train_adapter(tmp_path / "next", "dpo", dpo=before)
    again = train_adapter(tmp_path / "next", "dpo", dpo={"from_adapter": str(moved)})
    assert again.reused
    assert again.lineage.key == first.lineage.key


def test_dpo_from_no_adapter_or_one_of_another_base_model_is_refused(
    tmp_path: Path,
) -> None:
    nowhere = {"from_adapter": str(tmp_path / "nowhere")}
    with pytest.raises(SetupError, match=r"there is no adapter with a lineage\.json"):
        train_adapter(tmp_path / "next", "dpo", dpo=nowhere)
    other = train_adapter(tmp_path / "first", model="other-model")
    start = {"from_adapter": str(other.folder)}
    with pytest.raises(SetupError, match="was trained on other-model"):
        train_adapter(tmp_path / "next", "dpo", dpo=start)


def test_dpo_without_its_sft_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        SetupError,
        match=r"no SFT adapter of dataset \w+ to start from: make sft_adapter first",
    ):
        train_adapter(tmp_path, "dpo")


def test_dpo_on_another_base_model_than_its_sft_adapter_is_refused(
    tmp_path: Path,
) -> None:
    train_adapter(tmp_path)
    with pytest.raises(
        SetupError, match=r"was trained on a-model .* training\.model is another-model"
    ):
        train_adapter(tmp_path, "dpo", model="another-model")


def test_training_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        SetupError, match=r"training\.model: the base model to train is required"
    ):
        train_adapter(tmp_path, model="")


def test_training_on_no_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no sft row is in the train split"):
        train_adapter(tmp_path, rows={"split": "test"})


def test_two_runs_cannot_train_the_same_adapter_at_once(tmp_path: Path) -> None:
    work = a_training_set(tmp_path).folder / "sft"
    with (
        FileLock(f"{work}.lock"),
        pytest.raises(SetupError, match="another run is training this adapter now"),
    ):
        train_adapter(tmp_path)


def interrupted(home: Path, checkpoint: Callable[[Path], Path]) -> Path:
    """Fail a training after its first checkpoint, and return the checkpoint."""
    with pytest.raises(SetupError):
        train_adapter(home, model="silent")
    path = checkpoint(a_training_set(home).folder / "sft")
    path.mkdir(parents=True)
    return path


def test_checkpoints_are_kept_only_for_the_same_training(tmp_path: Path) -> None:
    checkpoint = interrupted(
        tmp_path, lambda work: work / "checkpoints" / "checkpoint-50"
    )
    with pytest.raises(SetupError):
        train_adapter(tmp_path, model="silent")
    assert checkpoint.exists()
    with pytest.raises(SetupError):
        train_adapter(tmp_path, model="silent", sft={"epochs": 9})
    assert not checkpoint.exists()


def test_a_finished_training_leaves_its_log_but_no_checkpoints(tmp_path: Path) -> None:
    version = train_adapter(tmp_path).lineage.dataset_version
    files = {file.name for file in (tmp_path / "training" / version / "sft").iterdir()}
    assert files == {"key", "config.json", "train.log", "metrics.jsonl", "result.json"}


def test_a_failed_training_leaves_the_earlier_adapter(tmp_path: Path) -> None:
    first = train_adapter(tmp_path)
    with pytest.raises(SetupError):
        train_adapter(tmp_path, model="broken-memory")
    assert read_lineage(first.folder) == first.lineage


def test_the_readme_states_what_the_adapter_is_and_its_training_data(
    tmp_path: Path,
) -> None:
    text = (train_adapter(tmp_path).folder / "README.md").read_text()
    assert text.startswith(
        '---\nbase_model: "a-model"\nlibrary_name: "peft"\ntags: ["lora", "trl", "sft"]\n---\n'
    )
    assert "| eval_loss | 2.25 |" in text
    assert "| cc-by-4.0 | 10 |" in text
    assert "simulated" not in text


def test_an_adapter_of_simulated_rows_is_labelled_in_readme_and_lineage(
    tmp_path: Path,
) -> None:
    adapter = train_adapter(tmp_path, rows={"simulated": True})
    text = (adapter.folder / "README.md").read_text()
    assert "> **Trained on rows that the rehearsal engine simulated by rule" in text
    assert '"simulated"]' in text
    assert adapter.lineage.simulated


def test_a_licence_cannot_break_the_table_of_the_readme(tmp_path: Path) -> None:
    text = (
        train_adapter(tmp_path, rows={"licence": "a | b\n<script>"}).folder
        / "README.md"
    ).read_text()
    assert "| a \\| b &lt;script> | 10 |" in text
