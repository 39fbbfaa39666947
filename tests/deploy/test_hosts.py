"""deploy/hosts, image and the guides name what exists; tests/distributed shows that it works."""

import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest

from aidsafe_dagster.cli.plan import plan
from aidsafe_dagster.settings.load import load_settings
from tests.site import ROOT

HOSTS = ROOT / "deploy" / "hosts"
DOCKERFILE = (ROOT / "deploy" / "image" / "Dockerfile").read_text()
GUIDES = [ROOT / "docs" / "past_one_machine.md", ROOT / "docs" / "planning.md"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CLUSTER_REQUIREMENTS = PROJECT["optional-dependencies"]["cluster"]
PLAN_OPTION = r"--[a-z-]+per-[a-z-]+|--gpus|--hours|--gpu-price"


def code_blocks(guide: Path, language: str) -> list[str]:
    pattern = re.compile(rf"^ *```{language}\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
    return pattern.findall(guide.read_text())


def pins(file: str) -> dict[str, str]:
    """Version by package, as a constraints file pins it."""
    lines = re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / file).read_text(), re.MULTILINE)
    return dict(lines)


def exported_variables(script: Path) -> dict[str, str]:
    """The environment after a script was sourced."""
    command = f"set -a; source {shlex.quote(str(script))}; env -0"
    environ = {"PATH": os.environ["PATH"]}
    completed = subprocess.run(
        ["bash", "-c", command], env=environ, capture_output=True, check=True
    )
    lines = completed.stdout.decode().split("\0")
    return dict(line.split("=", 1) for line in lines if "=" in line)


@pytest.mark.parametrize(
    "script", sorted(HOSTS.glob("*.sh")), ids=lambda path: path.name
)
def test_bash_reads_a_script(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert os.access(script, os.X_OK) == (script.name != "environment.sh")


def test_the_environment_of_a_host_holds_settings_that_exist(tmp_path: Path) -> None:
    variables = exported_variables(HOSTS / "environment.sh")
    settings = load_settings(tmp_path, environ=variables).settings
    assert settings.journal == variables["DAGSTER_POSTGRES_URL"]
    assert settings.lake == "s3://aidsafe/lake"
    assert variables["CELERY_BROKER_URL"] == f"sqla+{settings.journal}"
    assert variables["CELERY_RESULT_BACKEND"] == f"db+{settings.journal}"


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_the_settings_that_a_guide_shows_are_valid(tmp_path: Path, guide: Path) -> None:
    for block in code_blocks(guide, "toml"):
        (tmp_path / "aidsafe.toml").write_text(block)
        load_settings(tmp_path, environ={})


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_every_file_that_a_guide_links_to_exists(guide: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", guide.read_text()):
        assert (guide.parent / target).exists(), target


def test_the_options_of_the_plan_that_a_guide_shows_exist() -> None:
    shown = set[str]()
    for guide in GUIDES:
        shown.update(re.findall(PLAN_OPTION, guide.read_text()))
    valid = {f"--{name.replace('_', '-')}" for name in plan.__annotations__}
    assert shown <= valid
    assert {"--gpus", "--gpu-price", "--gpu-seconds-per-prompt"} <= shown


def test_the_image_copies_files_that_exist_and_does_not_run_as_root() -> None:
    copied = list[str]()
    for arguments in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE):
        *sources, _ = arguments.split()
        copied.extend(sources)
    assert copied
    assert all((ROOT / source).exists() for source in copied)
    users = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    assert users[-1] == "1000"


def test_the_image_installs_the_pinned_packages_that_several_machines_need() -> None:
    pinned = pins("constraints-cluster.txt")
    for requirement in CLUSTER_REQUIREMENTS:
        name, _, version = requirement.partition("==")
        bare_name = re.split(r"[<>=]", name)[0]
        assert pinned[bare_name].startswith(version)
    differing = {
        name: version
        for name, version in pins("constraints.txt").items()
        if pinned[name] != version
    }
    assert differing == {}
