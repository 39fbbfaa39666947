"""Which project a command or a Dagster process belongs to."""

from contextlib import chdir
from pathlib import Path

import pytest

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.project import find_project, refuse_half_a_project
from tests.site import aidsafe, prepare


def test_a_project_is_found_from_any_folder_below_it(tmp_path: Path) -> None:
    prepare(tmp_path / "mine", seed=7)
    below = tmp_path / "mine" / "a" / "b"
    below.mkdir(parents=True)
    assert find_project(below, {}).folder == tmp_path / "mine"
    with chdir(below):
        settings = load_settings(environ={}).settings
    assert (settings.seed, settings.home) == (7, tmp_path / "mine" / "data")


def test_dagster_home_names_the_whole_project_from_elsewhere(tmp_path: Path) -> None:
    prepare(tmp_path / "mine", seed=7)
    (tmp_path / "elsewhere").mkdir()
    home = str(tmp_path / "mine")
    outcome = aidsafe(tmp_path / "elsewhere", "status", DAGSTER_HOME=home)
    assert outcome.returncode == 0, outcome.stdout
    assert f"Project: {home}" in outcome.stdout
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_two_projects_are_refused_until_one_is_named(tmp_path: Path) -> None:
    prepare(tmp_path / "mine")
    prepare(tmp_path / "other")
    other = str(tmp_path / "other")
    refused = aidsafe(tmp_path / "mine", "status", DAGSTER_HOME=other)
    assert refused.returncode == 2
    assert other in refused.stdout
    assert str(tmp_path / "mine") in refused.stdout
    for arguments in (("--project", "."), ("--project=.",)):
        named = aidsafe(tmp_path / "mine", "status", *arguments, DAGSTER_HOME=other)
        assert f"Project: {tmp_path / 'mine'}\n" in named.stdout


def test_a_dagster_process_with_half_a_project_is_refused(tmp_path: Path) -> None:
    prepare(tmp_path / "mine")
    (tmp_path / "elsewhere").mkdir()
    home = {"DAGSTER_HOME": str(tmp_path / "mine")}
    with chdir(tmp_path / "mine"):
        refuse_half_a_project(home)
    with (
        chdir(tmp_path / "elsewhere"),
        pytest.raises(SetupError, match="Start it in"),
    ):
        refuse_half_a_project(home)


def test_a_file_is_named_from_where_the_person_is(tmp_path: Path) -> None:
    prepare(tmp_path / "mine")
    below = tmp_path / "mine" / "below"
    below.mkdir()
    (below / "some.csv").write_text("prompt\nHow do locks work?\n")
    arguments = ("ingest", "some.csv", "--licence", "MIT")
    outcome = aidsafe(below, *arguments, DAGSTER_HOME="")
    assert outcome.returncode == 0, outcome.stdout
    assert (tmp_path / "mine" / "data" / "lake" / "ingested").exists()
