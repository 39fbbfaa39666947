import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import dagster as dg
import pytest
from pydantic import BaseModel

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.settings.launchpad import (
    LaunchpadSettings,
    configured_in_shell,
    refuse_file,
    refuse_repointing,
)
from aidsafe_dagster.settings.schema import Settings
from tests.site import a_site, prompts_file, some_prompts

NOTHING_ALLOWED = LaunchpadSettings()
DANGEROUS = ("python", "environment", "extra_args", "extra_body", "path", "state")


def nested(key: str, value: object) -> dict[str, Any]:
    for name in reversed(key.split(".")):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def is_refused(key: str, launchpad: LaunchpadSettings = NOTHING_ALLOWED) -> bool:
    try:
        refuse_repointing(nested(key, "x"), launchpad)
    except SetupError as error:
        return key in str(error)
    return False


def keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted key of every setting; 'x' stands for a free name."""
    for name, field in model.model_fields.items():
        inner = [
            candidate
            for candidate in (field.annotation, *get_args(field.annotation))
            if isinstance(candidate, type) and issubclass(candidate, BaseModel)
        ]
        is_table = inner and field.annotation is not inner[0]
        place = f"{prefix}{name}.x." if is_table else f"{prefix}{name}."
        if inner:
            yield from keys_of(inner[0], place)
        else:
            yield place.rstrip(".")


@pytest.mark.parametrize(
    "key",
    [
        "vllm.python",
        "vllm.model",
        "vllm.extra_args",
        "vllm.environment.LD_PRELOAD",
        "vllm.lora_adapters.a",
        "training.python",
        "training.model",
        "endpoint.base_url",
        "endpoint.api_key_env",
        "endpoint.extra_body.x",
        "endpoint.profile",
        "servers.mine.base_url",
        "roles.judge.base_url",
        "roles.judge.api_key_env",
        "home",
        "lake_url",
        "journal_url",
        "policies",
        "prompts",
        "tokenizer",
        "sources",
        "decontamination.sets",
        "evaluation.models",
        "publish.repo",
        "publish.endpoint",
        "publish.token_env",
        "publish.private",
        "embeddings.base_url",
        "launchpad.allow",
        "launchpad.folders",
    ],
)
def test_a_run_cannot_repoint_what_the_file_decides(key: str) -> None:
    assert is_refused(key)


@pytest.mark.parametrize(
    "key",
    [
        "seed",
        "sampling.temperature",
        "deliberation.max_rounds",
        "checks.min_cot_tokens",
        "grading.second_judge",
        "driver.calls_in_flight",
        "roles.judge.model",
        "roles.deliberator_2.server",
        "vllm.max_model_len",
        "use_policies",
    ],
)
def test_a_run_can_tune_the_recipe(key: str) -> None:
    assert not is_refused(key)


def test_no_setting_that_names_a_program_an_address_or_a_secret_is_tunable() -> None:
    for key in keys_of(Settings):
        name = key.rpartition(".")[2]
        if name in DANGEROUS or name.endswith(("_url", "_env")):
            assert is_refused(key), key


def test_the_file_can_allow_more() -> None:
    launchpad = LaunchpadSettings(allow=("vllm.model", "roles.*.base_url"))
    assert not is_refused("vllm.model", launchpad)
    assert not is_refused("roles.judge.base_url", launchpad)
    assert is_refused("vllm.python", launchpad)


def test_the_user_s_own_shell_is_not_restricted() -> None:
    with configured_in_shell():
        assert not is_refused("vllm.python")
    assert is_refused("vllm.python")


def test_files_below_an_allowed_folder_may_be_ingested(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "a.csv").write_text("prompt\n")
    launchpad = LaunchpadSettings(folders=(inbox,))
    refuse_file(inbox / "a.csv", launchpad)


def test_no_way_leads_out_of_the_folders(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    secret = tmp_path / "secret.csv"
    secret.write_text("prompt\n")
    (inbox / "link.csv").symlink_to(secret)
    os.mkfifo(inbox / "pipe.csv")
    launchpad = LaunchpadSettings(folders=(inbox,))
    for path in (
        secret,
        inbox / ".." / "secret.csv",
        inbox / "link.csv",
        inbox / "pipe.csv",
        tmp_path / "inbox2" / "a.csv",
    ):
        with pytest.raises(SetupError, match="launchpad"):
            refuse_file(path, launchpad)


def launch(instance: dg.DagsterInstance, job: str, config: dict[str, Any]) -> str:
    """Execute a job as the daemon would; return its error, empty if it succeeded."""
    from aidsafe_dagster.definitions import defs

    result = defs.resolve_job_def(job).execute_in_process(
        instance=instance, run_config=config, raise_on_error=False
    )
    if result.success:
        return ""
    details = []
    for entry in instance.all_logs(result.run_id):
        event = entry.dagster_event
        error = getattr(event and event.event_specific_data, "error", None)
        if error is not None:
            details.append(error.to_string())
    return "\n".join(details)


def test_a_run_of_the_ui_that_names_another_program_fails_and_says_why(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path) as site:
        overrides = {"vllm": {"python": "/bin/sh"}}
        config = {"resources": {"settings": {"config": {"overrides": overrides}}}}
        error = launch(site.instance, "ingest_sources", config)
    assert "'vllm.python' cannot be set for one run" in error


def test_a_run_of_the_ui_ingests_no_file_of_the_machine(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        source = prompts_file(tmp_path, some_prompts(2))
        config = {"ops": {"ingest_prompts": {"config": {"sources": [source]}}}}
        assert "not below a folder" in launch(site.instance, "ingest_sources", config)
        assert site.batches == []
        # The same file from the user's own shell.
        assert site.ingest(source).success
