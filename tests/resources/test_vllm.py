from pathlib import Path

import pytest
from pydantic import ValidationError

from aidsafe_dagster.engines.vllm.settings import VLLMSettings
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.resources.vllm import VLLMResource
from aidsafe_dagster.settings.launchpad import LaunchpadSettings

PLAIN = LaunchpadSettings()
SETTINGS = VLLMSettings(model="base", max_num_seqs=64, port=8123, state=Path("state"))


def test_the_launchpad_changes_what_it_names_and_nothing_else() -> None:
    changed = VLLMResource(max_model_len=99, dtype="float16").in_force(SETTINGS, PLAIN)
    assert changed == SETTINGS.model_copy(
        update={"max_model_len": 99, "dtype": "float16"}
    )


def test_the_launchpad_names_no_other_model_unless_the_file_allows_it() -> None:
    with pytest.raises(SetupError, match=r"vllm\.model"):
        VLLMResource(model="other").in_force(SETTINGS, PLAIN)
    allowed = LaunchpadSettings(allow=("vllm.model",))
    changed = VLLMResource(model="other").in_force(SETTINGS, allowed)
    assert changed.model == "other"


def test_without_a_word_the_settings_are_in_force() -> None:
    assert VLLMResource().in_force(SETTINGS, PLAIN) == SETTINGS


def test_other_arguments_are_another_server() -> None:
    for change in (
        {"dtype": "float16"},
        {"max_model_len": 99},
        {"revision": "v2"},
    ):
        assert (
            VLLMResource(**change).in_force(SETTINGS, PLAIN).fingerprint
            != SETTINGS.fingerprint
        )


def test_a_value_that_no_server_takes_is_refused() -> None:
    with pytest.raises(ValidationError, match="gpu_memory_utilization"):
        VLLMResource(gpu_memory_utilization=1.5).in_force(SETTINGS, PLAIN)
