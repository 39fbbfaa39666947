"""deploy/hosts, the image and the guides name what exists and is taken. tests/distributed shows that it works."""

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
EXTRA = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"][
    "cluster"
]


def blocks(guide: Path, language: str) -> list[str]:
    return re.findall(
        rf"^ *```{language}\n(.*?)^ *```", guide.read_text(), re.DOTALL | re.MULTILINE
    )


def pins(file: str) -> dict[str, str]:
    found = re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / file).read_text(), re.MULTILINE)
    return dict(found)


@pytest.mark.parametrize("script", sorted(HOSTS.glob("*.sh")), ids=lambda path: path.name)
def test_a_script_is_one_that_bash_reads(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert os.access(script, os.X_OK) == (script.name != "environment.sh")


def test_the_environment_of_a_host_holds_settings_that_exist(tmp_path: Path) -> None:
    source = f"set -a; source {shlex.quote(str(HOSTS / 'environment.sh'))}; env -0"
    told = subprocess.run(
        ["bash", "-c", source], env={"PATH": os.environ["PATH"]}, capture_output=True, check=True
    )
    variables = dict(line.split("=", 1) for line in told.stdout.decode().split("\0") if "=" in line)
    settings = load_settings(tmp_path, environ=variables).settings
    assert settings.journal == variables["DAGSTER_POSTGRES_URL"]
    assert settings.lake == "s3://aidsafe/lake"
    assert variables["CELERY_BROKER_URL"] == f"sqla+{settings.journal}"
    assert variables["CELERY_RESULT_BACKEND"] == f"db+{settings.journal}"


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_the_settings_that_a_guide_shows_are_taken(tmp_path: Path, guide: Path) -> None:
    for block in blocks(guide, "toml"):
        (tmp_path / "aidsafe.toml").write_text(block)
        load_settings(tmp_path, environ={})


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_whatever_a_guide_links_to_is_there(guide: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", guide.read_text()):
        assert (guide.parent / target).exists(), target


def test_the_options_of_the_plan_that_a_guide_shows_exist() -> None:
    shown = {
        option
        for guide in GUIDES
        for option in re.findall(
            r"--[a-z-]+per-[a-z-]+|--gpus|--hours|--gpu-price", guide.read_text()
        )
    }
    taken = {f"--{name.replace('_', '-')}" for name in plan.__annotations__}
    assert shown <= taken
    assert {"--gpus", "--gpu-price", "--gpu-seconds-per-prompt"} <= shown


def test_the_image_copies_what_is_there_and_does_not_run_as_root() -> None:
    copied = [
        source
        for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert copied
    assert all((ROOT / source).exists() for source in copied)
    assert re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)[-1] == "1000"


def test_the_image_installs_what_several_machines_need_as_it_is_pinned() -> None:
    pinned = pins("constraints-cluster.txt")
    for requirement in EXTRA:
        name, _, version = requirement.partition("==")
        assert pinned[re.split(r"[<>=]", name)[0]].startswith(version)
    assert {
        name: version
        for name, version in pins("constraints.txt").items()
        if pinned[name] != version
    } == {}
