"""Dagster's own tools open this project under one name, which is that in the link of `make dev`."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from aidsafe_dagster.cli.dev import GRAPH
from aidsafe_dagster.recipe.records import Stage
from tests.graphql import ask
from tests.serving import a_free_port
from tests.site import ROOT, aidsafe, environment, prepare

LOCATION = "aidsafe_dagster"
LOCATIONS = (
    "{ repositoriesOrError "
    "{ ... on RepositoryConnection { nodes { location { name } } } } }"
)
JOB = """query ($location: String!, $job: String!) {
    assetNodes(pipeline: {
        pipelineName: $job, repositoryName: "__repository__", repositoryLocationName: $location
    }) { assetKey { path } }
}"""


def a_checkout(folder: Path) -> Path:
    """A project folder with the files that Dagster's tools look at."""
    prepare(folder)
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / LOCATION).symlink_to(ROOT / LOCATION)
    return folder


def run_tool(folder: Path, program: str, *arguments: str) -> str:
    """Run a command of Dagster's, and return what it printed."""
    outcome = subprocess.run(
        [str(Path(sys.executable).with_name(program)), *arguments],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    printed = outcome.stdout + outcome.stderr
    assert outcome.returncode == 0, printed
    return printed


@contextmanager
def a_web_server(folder: Path, *arguments: str) -> Iterator[int]:
    """A real web server of Dagster's in that folder; yields its port."""
    port = a_free_port()
    program = str(Path(sys.executable).with_name("dagster-webserver"))
    with subprocess.Popen(
        [program, "--host", "127.0.0.1", "--port", str(port), *arguments],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            yield port
        finally:
            server.terminate()


def location_names(port: int) -> list[str]:
    nodes = ask(port, LOCATIONS)["repositoriesOrError"]["nodes"]
    return [node["location"]["name"] for node in nodes]


def test_the_printed_link_names_a_location_and_a_job_that_the_web_server_has(
    tmp_path: Path,
) -> None:
    locations, location, jobs, job = GRAPH.split("/")
    assert (locations, jobs) == ("locations", "jobs")
    with a_web_server(a_checkout(tmp_path)) as port:
        assert location_names(port) == [location]
        nodes = ask(port, JOB, location=location, job=job)["assetNodes"]
    assert {node["assetKey"]["path"][0] for node in nodes} == set(map(str, Stage))


def test_workspace_yaml_gives_the_location_the_same_name(tmp_path: Path) -> None:
    with a_web_server(a_checkout(tmp_path), "-w", "workspace.yaml") as port:
        assert location_names(port) == [LOCATION]


def test_dagster_validates_the_definitions_under_that_name(tmp_path: Path) -> None:
    printed = run_tool(a_checkout(tmp_path), "dagster", "definitions", "validate")
    assert f"Validation successful for code location {LOCATION}." in printed


def test_dg_checks_and_lists_the_definitions(tmp_path: Path) -> None:
    folder = a_checkout(tmp_path)
    assert "All definitions loaded successfully" in run_tool(
        folder, "dg", "check", "defs"
    )
    listed = run_tool(
        folder, "dg", "list", "defs", "--json", "--assets", "group:recipe"
    )
    assert [stage for stage in Stage if f'"{stage}"' not in listed] == []


def test_dg_and_dagster_find_the_pipeline_in_a_new_project(tmp_path: Path) -> None:
    outcome = aidsafe(tmp_path, "init", "mine", DAGSTER_HOME="")
    assert outcome.returncode == 0, outcome.stdout
    folder = tmp_path / "mine"
    assert "All definitions loaded successfully" in run_tool(
        folder, "dg", "check", "defs"
    )
    printed = run_tool(folder, "dagster", "definitions", "validate")
    assert f"Validation successful for code location {LOCATION}." in printed
    with a_web_server(folder) as port:
        assert location_names(port) == [LOCATION]


def test_a_port_that_is_taken_is_reported_at_once_and_nothing_is_left_running(
    tmp_path: Path,
) -> None:
    folder = a_checkout(tmp_path)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        outcome = subprocess.run(
            [
                str(Path(sys.executable).with_name("aidsafe")),
                "dev",
                "--port",
                str(port),
            ],
            cwd=folder,
            env=environment(folder),
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    assert outcome.returncode == 2
    assert f"Port {port} is taken" in outcome.stdout
    assert f"make dev PORT={port + 1}" in outcome.stdout
    assert processes_in(folder) == []


def processes_in(folder: Path) -> list[int]:
    """Processes whose current folder is that one."""
    processes = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder):
                processes.append(process.pid)
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            continue
    return processes
