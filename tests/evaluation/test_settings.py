from pathlib import Path

import pytest

from aidsafe_dagster.evaluation.benchmarks import BENCHMARKS
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.settings.load import load_settings

MODELS = "[evaluation]\nmodels = [{ name = 'base' }, { name = 'sft', model = 'sft' }]\n"


def mistake(folder: Path, toml: str) -> str:
    (folder / "aidsafe.toml").write_text(toml)
    with pytest.raises(SetupError) as raised:
        load_settings(folder, {})
    return str(raised.value)


def test_by_default_all_benchmarks_come_from_the_hub(tmp_path: Path) -> None:
    specs = load_settings(tmp_path, {}).settings.evaluation.benchmarks
    assert [spec.name for spec in specs] == list(BENCHMARKS)
    assert all(spec.dataset and spec.glob for spec in specs)


def test_paths_are_relative_to_the_settings_folder(tmp_path: Path) -> None:
    (tmp_path / "aidsafe.toml").write_text(
        MODELS + "[[evaluation.benchmarks]]\nname = 'xstest'\npath = 'mine.csv'\n"
    )
    evaluation = load_settings(tmp_path, {}).settings.evaluation
    assert [spec.path for spec in evaluation.benchmarks] == [tmp_path / "mine.csv"]
    assert [(model.name, model.model) for model in evaluation.models] == [
        ("base", ""),
        ("sft", "sft"),
    ]


def test_errors_name_the_valid_choices(tmp_path: Path) -> None:
    error = mistake(
        tmp_path, "[[evaluation.benchmarks]]\nname = 'xtest'\npath = 'a.csv'\n"
    )
    assert (
        "unknown preset 'xtest'. Valid: beavertails, mmlu, strongreject, wildchat, xstest"
        in error
    )
    twice = MODELS.replace("'sft', model", "'base', model")
    assert "two models are named 'base'" in mistake(tmp_path, twice)
    assert "Did you mean 'evaluation.models.1.model'?" in mistake(
        tmp_path, MODELS.replace("model =", "modell =")
    )
