"""The wheel alone, in an environment of its own: a project from `init` to the web UI."""

import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections.abc import Mapping
from email.parser import Parser
from pathlib import Path

import pytest

from tests.graphql import ask
from tests.serving import a_free_port
from tests.site import NO_FAULTS, ROOT, environment

DATA_FOLDERS = ("new_project", "policies", "prompts", "samples", "engines/profiles")
OFFLINE = ("--offline", "--no-deps", "--no-config")
WHERE = "import aidsafe_dagster; print(aidsafe_dagster.__file__)"
ASSETS = "{ assetNodes { assetKey { path } } }"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]
    subprocess.run(
        [*command, "-d", str(folder)], cwd=ROOT, check=True, capture_output=True
    )
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel beside this environment's dependencies; return the folder of programs."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    packages = folder / "lib" / f"python{sysconfig.get_python_version()}"
    packages /= "site-packages"
    # A path file adds the dependencies and does not run the path files that lie there, one of
    # which would add this checkout.
    ours = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "dependencies.pth").write_text("\n".join(ours) + "\n")
    programs = folder / "bin"
    target = ["--python", str(programs / "python")]
    subprocess.run(
        [sys.executable, "-m", "uv", "pip", "install", *OFFLINE, *target, str(wheel)],
        check=True,
        capture_output=True,
    )
    # A dependency's program, which lies beside the interpreter where pip installs all.
    daemon = programs / "dagster-daemon"
    daemon.write_text(
        f"#!{programs / 'python'}\nfrom dagster._daemon.cli import main\nmain()\n"
    )
    daemon.chmod(0o755)
    return programs


def variables(elsewhere: Path) -> Mapping[str, str]:
    # A planted fault may close a gate of so small a batch.
    no_faults = {f"AIDSAFE_REHEARSAL__{name.upper()}": "0" for name in NO_FAULTS}
    return environment(elsewhere, PYTHONPATH="", COLUMNS="80", **no_faults)


def test_the_wheel_holds_every_file_of_the_package_s_data(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        files = set(archive.namelist())
    package = ROOT / "aidsafe_dagster"
    missing = []
    for folder in DATA_FOLDERS:
        for file in (package / folder).rglob("*"):
            name = file.relative_to(ROOT).as_posix()
            if file.is_file() and "__pycache__" not in name and name not in files:
                missing.append(name)
    assert missing == []


def test_the_wheel_s_metadata_name_every_extra_and_dependency(wheel: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [one for one in archive.namelist() if one.endswith("/METADATA")]
        metadata = Parser().parsestr(archive.read(name).decode())
    extras = {*(metadata.get_all("Provides-Extra") or [])}
    assert extras == {*project["optional-dependencies"]}
    required = metadata.get_all("Requires-Dist") or []
    plain = [line for line in required if "extra ==" not in line]
    assert len(plain) == len(project["dependencies"])


@pytest.mark.slow
def test_a_project_of_the_wheel_alone_works_from_another_folder(
    installed: Path, tmp_path: Path
) -> None:
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    elsewhere.mkdir()
    variables_there = variables(elsewhere)

    def aidsafe(*arguments: str) -> str:
        outcome = subprocess.run(
            [str(installed / "aidsafe"), *arguments],
            cwd=elsewhere,
            env=variables_there,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr
        return outcome.stdout

    where = subprocess.run(
        [str(installed / "python"), "-c", WHERE],
        cwd=elsewhere,
        env=variables_there,
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(installed.parent))
    in_project = ("--project", str(project))
    aidsafe("init", "../project")
    # Long paths stand on lines of their own.
    told = "".join(aidsafe(*in_project, "doctor").split())
    assert f"Project:{project}" in told
    assert "--project" in aidsafe(
        *in_project, "demo", "--sample", "2", "--source", "catqa"
    )
    aidsafe(*in_project, "ingest")
    assert "1 batch run, 0 were finished before" in aidsafe(*in_project, "backfill")
    status = aidsafe(*in_project, "status")
    assert "prompts-0001" in status
    assert "catqa" not in status
    demo = ("--project", str(project / "data" / "demo"))
    assert "catqa-0001" in aidsafe(*demo, "status")
    aidsafe(*in_project, "export", "--out", "rows", "--allow-simulated")
    assert [file.name for file in elsewhere.iterdir()] == ["rows"]
    port = a_free_port()
    with subprocess.Popen(
        [str(installed / "aidsafe"), *in_project, "dev", "--port", str(port)],
        cwd=elsewhere,
        env=variables_there,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            nodes = ask(port, ASSETS)["assetNodes"]
            assert ["refined_cots"] in [node["assetKey"]["path"] for node in nodes]
            assert server.poll() is None
        finally:
            server.terminate()
    assert [file.name for file in elsewhere.iterdir()] == ["rows"]
