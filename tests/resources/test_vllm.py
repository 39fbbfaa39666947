from pathlib import Path

import pytest
from pydantic import ValidationError

from aidsafe_dagster.engines.vllm.settings import VLLMSettings
from aidsafe_dagster.resources.vllm import VLLMResource

SETTINGS = VLLMSettings(model="base", max_num_seqs=64, port=8123, state=Path("state"))


def test_the_launchpad_changes_what_it_names_and_nothing_else() -> None:
    changed = VLLMResource(model="other", extra_args=["--enforce-eager"]).in_force(
        SETTINGS
    )
    assert changed == SETTINGS.model_copy(
        update={"model": "other", "extra_args": ("--enforce-eager",)}
    )


def test_without_a_word_the_settings_are_in_force() -> None:
    assert VLLMResource().in_force(SETTINGS) == SETTINGS


def test_other_arguments_are_another_server() -> None:
    for change in (
        {"dtype": "float16"},
        {"max_model_len": 99},
        {"revision": "v2"},
        {"lora_adapters": {"a": "b"}},
    ):
        assert (
            VLLMResource(**change).in_force(SETTINGS).fingerprint
            != SETTINGS.fingerprint
        )


def test_a_value_that_no_server_takes_is_refused() -> None:
    with pytest.raises(ValidationError, match="gpu_memory_utilization"):
        VLLMResource(gpu_memory_utilization=1.5).in_force(SETTINGS)
