"""What is packaged: the pins, and the command line as a program."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

from aidsafe_dagster.engines.profiles import profile_names
from tests.site import ROOT, aidsafe_process


def pinned(name: str) -> set[str]:
    lines = (ROOT / name).read_text().splitlines()
    return {
        line.split("==")[0]
        for line in lines
        if "==" in line and not line.startswith((" ", "#"))
    }


def test_the_command_line_is_a_program_that_prints_its_errors_and_exits_with_2(
    tmp_path: Path,
) -> None:
    outcome = aidsafe_process(tmp_path, "status", DAGSTER_HOME="")
    assert outcome.returncode == 2
    assert "dagster.yaml" in outcome.stdout
    assert "Traceback" not in outcome.stdout + outcome.stderr


def test_an_orchestrator_needs_no_torch() -> None:
    assert {"dagster", "polars"} <= pinned("constraints.txt")
    assert not {"torch", "vllm", "transformers"} & pinned("constraints.txt")


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {
        line.split(">")[0].split("=")[0].lower().replace("_", "-")
        for line in project["dependencies"]
    }
    assert names - pinned("constraints.txt") == set()


def test_the_pins_hold_no_address() -> None:
    for name in ("constraints.txt", "constraints-dev.txt"):
        assert "://" not in (ROOT / name).read_text()


def test_the_wheel_contains_every_profile(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]
    subprocess.run(
        [*command, "-d", str(tmp_path)], cwd=ROOT, check=True, capture_output=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        files = set(archive.namelist())
    folder = "aidsafe_dagster/engines/profiles"
    assert {f"{folder}/{name}.toml" for name in profile_names()} - files == set()
