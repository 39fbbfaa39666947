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


def test_without_settings_all_benchmarks_come_from_the_hub(tmp_path: Path) -> None:
    specs = load_settings(tmp_path, {}).settings.evaluation.benchmarks
    assert [spec.name for spec in specs] == list(BENCHMARKS)
    assert all(spec.dataset and spec.glob for spec in specs)


def test_a_benchmark_of_one_s_own_is_found_from_the_settings_folder(tmp_path: Path) -> None:
    (tmp_path / "aidsafe.toml").write_text(
        MODELS + "[[evaluation.benchmarks]]\nname = 'xstest'\npath = 'mine.csv'\n"
    )
    found = load_settings(tmp_path, {}).settings.evaluation
    assert [spec.path for spec in found.benchmarks] == [tmp_path / "mine.csv"]
    assert [(model.name, model.model) for model in found.models] == [("base", ""), ("sft", "sft")]


def test_mistakes_are_told_with_what_would_be_valid(tmp_path: Path) -> None:
    told = mistake(tmp_path, "[[evaluation.benchmarks]]\nname = 'xtest'\npath = 'a.csv'\n")
    assert (
        "unknown preset 'xtest'. Valid: beavertails, mmlu, strongreject, wildchat, xstest" in told
    )
    twice = MODELS.replace("'sft', model", "'base', model")
    assert "two models are named 'base'" in mistake(tmp_path, twice)
    assert "Did you mean 'evaluation.models.1.model'?" in mistake(
        tmp_path, MODELS.replace("model =", "modell =")
    )
