"""The web server reloads its definitions when the recipe changes."""

import logging
from pathlib import Path

import pytest

from aidsafe_dagster.web_ui.definitions_reload import RecipeWatch
from tests.site import prepare

POLICY = """\
id = "mine"
title = "Mine"
purpose = "To be of use."
applies = "always"
[rules]
1 = "Be of use."
"""


def a_project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a project with a policy of its own, stand in it, and return the policy's file."""
    prepare(folder, policies="rules")
    policy = folder / "rules" / "mine.toml"
    policy.parent.mkdir()
    policy.write_text(POLICY)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return policy


def test_a_policy_or_a_setting_that_is_saved_is_a_change_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = a_project(tmp_path, monkeypatch)
    watch = RecipeWatch()
    assert not watch.has_changed()
    policy.write_text(POLICY.replace("Be of use.", "Be kind and of use."))
    assert watch.has_changed()
    assert not watch.has_changed()
    with (tmp_path / "aidsafe.toml").open("a") as settings:
        settings.write("[sampling]\ntemperature = 0.3\n")
    assert watch.has_changed()


def test_a_comment_is_no_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = a_project(tmp_path, monkeypatch)
    watch = RecipeWatch()
    policy.write_text(f"# why\n{POLICY}")
    assert not watch.has_changed()


def test_a_file_that_is_half_saved_is_waited_for(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    policy = a_project(tmp_path, monkeypatch)
    watch = RecipeWatch()
    policy.write_text(POLICY.removesuffix('"\n'))
    with caplog.at_level(logging.WARNING):
        assert not watch.has_changed()
        assert not watch.has_changed()
    assert len(caplog.messages) == 1
    assert "mine.toml, line 6" in caplog.messages[0]
    policy.write_text(POLICY.replace("Be of use.", "Be kind."))
    assert watch.has_changed()
