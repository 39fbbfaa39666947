"""A project of one's own: its files, and that none of them can go stale."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from aidsafe_dagster.cli.init import project_files
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.schema import Settings
from tests.site import ROOT, aidsafe

SETTINGS = project_files()["aidsafe.toml"].decode()
SET = {"engine", "policies", "sources"}
"""What a new project sets, rather than shows at its default."""


def with_every_setting() -> dict[str, Any]:
    """Return the template's settings with the commented ones in force."""
    lines = []
    for line in SETTINGS.splitlines():
        is_setting = line.startswith("#") and not line.startswith(("# ", "##"))
        lines.append(line.removeprefix("#") if is_setting else line)
    return tomllib.loads("\n".join(lines))


def leaves(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= leaves(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found


def default_of(key: str) -> object:
    value: Any = Settings()
    for part in key.split("."):
        value = getattr(value, part)
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value


def test_every_commented_setting_stands_there_at_its_default() -> None:
    wrong = {}
    for key, value in leaves(with_every_setting()).items():
        if key not in SET and value != default_of(key):
            wrong[key] = (value, default_of(key))
    assert wrong == {}


def test_every_section_of_the_settings_is_there() -> None:
    sections = with_every_setting()
    missing = []
    for name in Settings.model_fields:
        value = getattr(Settings(), name)
        if isinstance(value, BaseModel | dict) and name not in sections:
            missing.append(name)
    assert missing == []


def test_a_new_project_has_what_the_clone_has_for_dagster() -> None:
    for name in ("dagster.yaml", "workspace.yaml"):
        assert project_files()[name] == (ROOT / name).read_bytes(), name


def test_its_settings_and_its_policy_are_valid(tmp_path: Path) -> None:
    outcome = aidsafe(tmp_path, "init", "mine")
    assert outcome.returncode == 0, outcome.stdout
    settings = load_settings(tmp_path / "mine", {}).settings
    assert settings.load_policies().ids == ("our_rules",)
    assert [source.name for source in settings.sources] == ["prompts"]
    for command in ("aidsafe ingest", "aidsafe backfill", "aidsafe dev"):
        assert command in outcome.stdout


@pytest.mark.parametrize("name", ["aidsafe.toml", "policies/our_rules.toml"])
def test_no_file_is_overwritten_and_what_is_in_the_way_is_named(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    outcome = aidsafe(tmp_path, "init", ".", DAGSTER_HOME="")
    assert outcome.returncode == 2
    assert name in outcome.stdout
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert [file.read_text() for file in files] == ["mine"]
