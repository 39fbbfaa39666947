from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.training.lineage import lineage_key
from aidsafe_dagster.training.settings import TrainingSettings
from tests.site import ROOT


def load_training(folder: Path, toml: str) -> TrainingSettings:
    (folder / "aidsafe.toml").write_text(toml)
    return load_settings(folder, {}).settings.training


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        (
            "[training]\nmodle = 'm'",
            "unknown key 'training.modle'. Did you mean 'training.model'?",
        ),
        (
            "[training.sft]\nlearning_rat = 1",
            "Did you mean 'training.sft.learning_rate'?",
        ),
        ("[training.lora]\nrank = 8", "unknown key 'training.lora.rank'"),
        ("[training.sft]\nbeta = 0.1", "unknown key 'training.sft.beta'"),
        (
            "[training]\nquantize = '8bit'",
            "'training.quantize': Input should be 'none' or '4bit'",
        ),
        ("[training.lora]\nr = 0", "'training.lora.r'"),
        ("[training.lora]\ndropout = 1", "'training.lora.dropout'"),
        ("[training.dpo]\nmax_steps = 0", "'training.dpo.max_steps'"),
        ("[training.sft]\nwarmup = 10", "'training.sft.warmup'"),
    ],
)
def test_the_error_of_a_mistake_names_the_key(
    tmp_path: Path, toml: str, message: str
) -> None:
    with pytest.raises(SetupError) as error:
        load_training(tmp_path, toml)
    assert message in str(error.value)


def test_a_model_folder_and_an_interpreter_are_relative_to_the_settings_file(
    tmp_path: Path,
) -> None:
    (tmp_path / "models" / "mine").mkdir(parents=True)
    training = load_training(
        tmp_path,
        "[training]\nmodel = 'models/mine'\npython = '.venv-train/bin/python'\n",
    )
    assert training.model == str(tmp_path / "models/mine")
    assert training.python == str(tmp_path / ".venv-train/bin/python")


def test_a_model_on_the_hub_and_an_interpreter_on_the_path_are_unchanged(
    tmp_path: Path,
) -> None:
    training = load_training(
        tmp_path, "[training]\nmodel = 'org/model'\npython = 'python3'\n"
    )
    assert (training.model, training.python) == ("org/model", "python3")


def key(**changes: Any) -> str:
    return lineage_key(
        TrainingSettings.model_validate(changes), "dpo", "version", "base", ""
    )


@pytest.mark.parametrize(
    "change",
    [
        {"model": "other"},
        {"seed": 1},
        {"max_length": 99},
        {"quantize": "4bit"},
        {"lora": {"r": 8}},
        {"lora": {"target_modules": ["q_proj"]}},
        {"dpo": {"beta": 0.2}},
        {"dpo": {"max_steps": 9}},
    ],
)
def test_settings_that_affect_the_weights_change_the_key(
    change: dict[str, Any],
) -> None:
    assert key(**change) != key()


@pytest.mark.parametrize(
    "change",
    [
        {"python": "elsewhere"},
        {"environment": {"OMP_NUM_THREADS": "1"}},
        {"dpo": {"log_every": 1, "save_every": 3, "eval_every": 7}},
        {"sft": {"learning_rate": 1}},
    ],
)
def test_settings_that_do_not_affect_the_weights_leave_the_key(
    change: dict[str, Any],
) -> None:
    assert key(**change) == key()


def test_the_settings_of_the_circle_on_real_weights_are_valid(tmp_path: Path) -> None:
    toml = (ROOT / "scripts/circle-real.toml").read_text()
    (tmp_path / "aidsafe.toml").write_text(toml)
    settings = load_settings(tmp_path, {}).settings
    # It trains on rehearsal rows, and so must say that it may.
    assert settings.engine == "rehearsal"
    assert settings.training.allow_simulated
    assert settings.evaluation.held_out > 0
    assert [model.name for model in settings.evaluation.models] == [
        "base",
        "sft",
        "dpo",
    ]
