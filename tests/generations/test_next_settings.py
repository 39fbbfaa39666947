"""The settings of a generation are the project's, with the adapter in the roles that it takes."""

from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.generations.next_settings import (
    own_places,
    settings_of_generation,
    settings_text,
    with_candidates,
)
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.role_servers import adapters_by_speaker
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.training.generation import SpeakingAdapter

ENDPOINT = {"base_url": "http://127.0.0.1:1/v1", "model": "base-model"}


def an_adapter(method: Any = "dpo", generation: int = 1) -> SpeakingAdapter:
    return SpeakingAdapter(
        name=f"g{generation}-{method}",
        weights="0123456789abcdef",
        folder=Path("/adapters") / method,
        generation=generation,
        method=method,
    )


def settings(**values: Any) -> Settings:
    return Settings.model_validate(
        {"engine": "endpoint", "endpoint": ENDPOINT, **values}
    )


def test_the_target_alone_speaks_with_the_adapter_and_training_goes_on_from_it() -> (
    None
):
    own = settings_of_generation(settings(), 2, an_adapter())
    assert adapters_by_speaker(own) == {"target": "g1-dpo@0123456789abcdef"}
    assert own.training.dpo.from_adapter == "/adapters/dpo"
    assert own.generation.number == 2


def test_agents_may_speak_with_it_too_but_not_those_with_a_model_of_their_own() -> None:
    project = settings(
        generation={"roles": ["target", "deliberator"]},
        roles={"deliberator_2": {"model": "another"}},
    )
    own = settings_of_generation(project, 2, an_adapter())
    assert set(adapters_by_speaker(own)) == {"target", "deliberator", "deliberator_1"}


def test_both_adapters_are_trained_anew_if_the_settings_say_so() -> None:
    project = settings(generation={"start_from": "base"})
    own = settings_of_generation(project, 2, an_adapter())
    assert own.training.dpo.from_adapter == ""


def test_a_role_keeps_its_sampling_and_moves_to_the_server_of_the_adapters() -> None:
    project = settings(
        servers={"small": {"base_url": "http://127.0.0.1:2/v1", "model": "base"}},
        roles={"target": {"base_url": "http://x/v1", "sampling": {"temperature": 0.1}}},
        generation={"server": "small"},
    )
    target = settings_of_generation(project, 2, an_adapter()).roles["target"]
    assert (target.server, target.base_url, target.model) == ("small", "", "g1-dpo")
    assert target.sampling is not None
    assert target.sampling.temperature == 0.1


def test_the_managed_server_is_told_the_adapters_and_no_other_is() -> None:
    vllm = settings(engine="vllm", vllm={"model": "base-model"})
    own = settings_of_generation(vllm, 2, an_adapter())
    assert own.vllm.lora_adapters == {"g1-dpo": "/adapters/dpo"}
    assert settings_of_generation(settings(), 2, an_adapter()).vllm.lora_adapters == {}


def test_the_rehearsal_engine_cannot_speak_with_an_adapter() -> None:
    with pytest.raises(SetupError, match="target is answered by the rehearsal engine"):
        settings_of_generation(Settings(), 2, an_adapter())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"roles": ["judge"]}, "judge measures the adapter"),
        ({"served_as": "{name}"}, "only fields are"),
        ({"roles": ["tarket"]}, "Did you mean 'target'"),
        ({"server": "smal"}, "unknown server"),
    ],
)
def test_mistakes_are_told_when_the_settings_are_loaded(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises((SetupError, ValueError), match=message):
        settings(generation=values)


def test_base_and_adapters_are_evaluated_where_they_are_served() -> None:
    project = settings(
        roles={"target": {"model": "tiny"}},
        evaluation={"models": [{"name": "rival", "model": "other"}]},
    )
    adapters = [an_adapter(), an_adapter(generation=2)]
    own = with_candidates(
        settings_of_generation(project, 2, adapters[0]), project, adapters
    )
    models = [(one.name, one.model) for one in own.evaluation.models]
    assert models == [
        ("base", "tiny"),
        ("g1-dpo", "g1-dpo"),
        ("g2-dpo", "g2-dpo"),
        ("rival", "other"),
    ]


def test_the_file_means_the_same_as_the_settings_it_was_written_from(
    tmp_path: Path,
) -> None:
    (tmp_path / "aidsafe.toml").write_text(
        """
engine = "endpoint"
home = "elsewhere"

[endpoint]
profile = "vllm"
base_url = "http://127.0.0.1:1/v1"
model = "base-model"
rename = {}

[[evaluation.benchmarks]]
name = "xstest"
path = "xstest.csv"

[training]
python = "venv/bin/python"
"""
    )
    project = load_settings(tmp_path, {}).settings
    folder = tmp_path / "elsewhere" / "generations" / "2"
    own = own_places(settings_of_generation(project, 2, an_adapter()), 2, folder)
    folder.mkdir(parents=True)
    (folder / "aidsafe.toml").write_text(settings_text(own, 2, tmp_path))
    read = load_settings(folder, {}).settings
    assert read == own
    assert read.home == folder / "data"
    assert read.journal == project.journal
