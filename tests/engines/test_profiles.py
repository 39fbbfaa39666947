"""Named profiles: what their files say, and how they meet the settings."""

from collections.abc import Mapping
from contextlib import chdir
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.engines.profiles import Fact, load_profile, profile_names
from aidsafe_dagster.engines.settings import ServerSettings
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.settings.launchpad import configured_in_shell
from aidsafe_dagster.settings.load import Loaded, load_settings
from tests.site import aidsafe, prepare

NAMES = profile_names()


def load(
    folder: Path,
    toml: str = "",
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Loaded:
    (folder / "aidsafe.toml").write_text(toml)
    return load_settings(folder, environ or {}, overrides)


def error_message(folder: Path, toml: str) -> str:
    with pytest.raises(SetupError) as raised:
        load(folder, toml)
    return str(raised.value)


def test_there_is_a_profile_for_what_people_use() -> None:
    wanted = {
        "anthropic",
        "azure-openai",
        "deepseek",
        "gemini",
        "litellm",
        "llama-cpp",
        "mistral",
        "ollama",
        "openai",
        "openai-reasoning",
        "openrouter",
        "vllm",
        "vllm-reasoning",
    }
    assert wanted - set(NAMES) == set()


@pytest.mark.parametrize("name", NAMES)
def test_every_key_of_a_profile_stands_on_a_fact(name: str) -> None:
    profile = load_profile(name)
    on_facts = {key for fact in profile.facts for key in fact.keys}
    assert on_facts == set(profile.server)
    assert profile.title
    assert all(fact.fact for fact in profile.facts)


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_says_when_it_was_checked(name: str) -> None:
    assert load_profile(name).checked >= date(2026, 11, 28)


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_holds_no_prices(name: str) -> None:
    assert "prices" not in load_profile(name).server


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_takes_effect_in_a_server_that_names_it(
    tmp_path: Path, name: str
) -> None:
    loaded = load(tmp_path, f"[servers.mine]\nprofile = '{name}'\n")
    server = loaded.settings.servers["mine"]
    expected = ServerSettings.model_validate(load_profile(name).server)
    assert server == expected.model_copy(update={"profile": name})


def test_a_source_is_a_public_address() -> None:
    with pytest.raises(ValueError, match="source"):
        Fact(keys=("omit",), fact="seed is refused", source="seen at home")


def test_the_settings_win_over_the_profile(tmp_path: Path) -> None:
    toml = """
[endpoint]
profile = "openai-reasoning"
base_url = "http://127.0.0.1:1/v1"
omit = ["seed"]
[endpoint.reasoning_off]
reasoning_effort = "minimal"
"""
    endpoint = load(tmp_path, toml).settings.endpoint
    assert endpoint.base_url == "http://127.0.0.1:1/v1"
    assert endpoint.omit == ("seed",)
    assert endpoint.reasoning_off == {"reasoning_effort": "minimal"}
    # What the settings do not say is still the profile's.
    assert endpoint.rename == {"max_tokens": "max_completion_tokens"}
    assert endpoint.api_key_env == "OPENAI_API_KEY"


def test_an_empty_table_or_list_takes_back_what_the_profile_says(
    tmp_path: Path,
) -> None:
    toml = "[endpoint]\nprofile = 'openai-reasoning'\nrename = {}\nomit = []\n"
    endpoint = load(tmp_path, toml).settings.endpoint
    assert (endpoint.rename, endpoint.omit) == ({}, ())


def test_a_table_of_the_settings_adds_to_that_of_the_profile(tmp_path: Path) -> None:
    toml = "[endpoint]\nprofile = 'openai'\nrename = { seed = 'random_seed' }\n"
    loaded = load(tmp_path, toml)
    assert loaded.settings.endpoint.rename == {
        "max_tokens": "max_completion_tokens",
        "seed": "random_seed",
    }
    assert loaded.origins["endpoint.rename.max_tokens"] == "profile openai"
    assert loaded.origins["endpoint.rename.seed"] == str(tmp_path / "aidsafe.toml")


def test_two_servers_of_one_profile_do_not_change_each_other(tmp_path: Path) -> None:
    toml = """
[servers.a]
profile = "openai"
rename = { seed = "random_seed" }
[servers.b]
profile = "openai"
"""
    servers = load(tmp_path, toml).settings.servers
    assert "seed" in servers["a"].rename
    assert servers["b"].rename == {"max_tokens": "max_completion_tokens"}


def test_a_misspelt_profile_names_the_place_and_the_nearest(tmp_path: Path) -> None:
    file = tmp_path / "aidsafe.toml"
    message = error_message(tmp_path, "[servers.judge]\nprofile = 'opnai-reasoning'\n")
    assert message.startswith(f"{file}: 'servers.judge.profile': unknown profile")
    assert "Did you mean 'openai-reasoning'?" in message
    assert "llama-cpp" in message


@pytest.mark.parametrize(
    ("toml", "place"),
    [
        ("servers = 3\n", "'servers'"),
        ("endpoint = 3\n", "'endpoint'"),
        ("[servers]\njudge = 'openai'\n", "'servers.judge'"),
        ("[servers.judge]\nprofile = 3\n", "'servers.judge.profile'"),
    ],
)
def test_a_value_in_the_place_of_a_table_is_an_error_that_names_it(
    tmp_path: Path, toml: str, place: str
) -> None:
    message = error_message(tmp_path, toml)
    assert str(tmp_path / "aidsafe.toml") in message
    assert place in message


def test_an_unknown_key_beside_a_profile_names_the_nearest(tmp_path: Path) -> None:
    toml = "[servers.judge]\nprofile = 'openai'\nrenam = { a = 'b' }\n"
    assert "Did you mean 'servers.judge.rename'?" in error_message(tmp_path, toml)


def test_variables_name_a_profile_and_win_over_it(tmp_path: Path) -> None:
    environ = {
        "AIDSAFE_SERVERS__JUDGE__PROFILE": "ollama",
        "AIDSAFE_SERVERS__JUDGE__SLOTS": "3",
    }
    loaded = load(tmp_path, environ=environ)
    judge = loaded.settings.servers["judge"]
    assert (judge.base_url, judge.slots) == ("http://127.0.0.1:11434/v1", 3)
    assert loaded.origins["servers.judge.slots"] == "environment"
    assert loaded.origins["servers.judge.base_url"] == "profile ollama"


def test_a_command_names_a_profile_for_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIDSAFE_SETTINGS", raising=False)
    prepare(tmp_path, endpoint={"profile": "openai", "slots": 5})
    overrides = {
        "endpoint": {"profile": "mistral"},
        "servers": {"judge": {"profile": "vllm", "base_url": "http://127.0.0.1:1/v1"}},
    }
    with chdir(tmp_path), configured_in_shell():
        settings = SettingsResource(overrides=overrides).snapshot.settings
    assert settings.endpoint.rename == {"seed": "random_seed"}
    assert settings.endpoint.slots == 5
    assert settings.servers["judge"].tokenize


def test_the_doctor_shows_what_comes_from_a_profile(tmp_path: Path) -> None:
    prepare(tmp_path, endpoint={"profile": "ollama", "slots": 2})
    text = aidsafe(tmp_path, "doctor", "--all").stdout
    own, rest = text.split("Settings in force, from profile ollama:")
    of_profile, defaults = rest.split("Settings in force, by default:")
    assert "endpoint.slots = 2\n" in own
    assert "endpoint.base_url = http://127.0.0.1:11434/v1\n" in of_profile
    assert "endpoint.timeout_s = 600.0\n" in defaults
