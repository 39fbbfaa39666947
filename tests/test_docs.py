"""The documentation agrees with the tree: links, folders, modules and commands exist."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from aidsafe_dagster.cli.app import app
from aidsafe_dagster.engines.profiles import profile_names
from aidsafe_dagster.engines.settings import ServerSettings
from aidsafe_dagster.settings.load import load_settings
from tests.site import ROOT

PACKAGE = ROOT / "aidsafe_dagster"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
CODE = re.compile(r"`([^`\n]+)`")
COMMAND = re.compile(r"(?<!-n )\baidsafe ([a-z][a-z-]*)((?: [a-z][a-z-]*)?)")
MAKE_TARGET = re.compile(r"\bmake ([a-z][a-z-]*)")


def code_in(page: Path) -> Iterator[str]:
    """Yield the code of a page: what stands in backticks, and the lines of its blocks."""
    in_block = False
    for line in page.read_text("utf-8").splitlines():
        if line.strip().startswith("```"):
            in_block = not in_block
        elif in_block:
            yield line
        else:
            yield from CODE.findall(line)


def folders() -> list[str]:
    """Return the folders under version control, as they are written in the documentation."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    names: set[str] = set()
    for file in listed.stdout.splitlines():
        parents = [parent.as_posix() for parent in Path(file).parents]
        names.update(f"{parent}/" for parent in parents if parent != ".")
    return sorted(names)


def test_the_readme_fits_on_a_few_screens() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_leads_to_a_file(page: Path) -> None:
    links = LINK.findall(page.read_text("utf-8"))
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (page.parent / link).exists()] == []


def test_every_page_is_in_the_reading_order_of_the_readme() -> None:
    links = set(LINK.findall((ROOT / "README.md").read_text("utf-8")))
    pages = {page.relative_to(ROOT).as_posix() for page in PAGES} - {"README.md"}
    assert pages - links == set()


def test_the_architecture_names_every_folder() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    unnamed = []
    for folder in folders():
        inner = folder.removeprefix("aidsafe_dagster/")
        is_nested_elsewhere = folder == inner and folder.count("/") > 1
        if inner and not is_nested_elsewhere and f"`{inner}`" not in text:
            unnamed.append(folder)
    assert unnamed == []


def test_the_architecture_lists_the_layers_in_the_order_of_the_linter() -> None:
    config = (ROOT / "pyproject.toml").read_text("utf-8")
    contract = config.split('name = "Layers look down, never up"')[1].split("]")[0]
    layers = re.findall(r"aidsafe_dagster\.(\w+)", contract)
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    table = text.split("## Folders")[1].split("Inside `engines/`")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = re.findall(r"`(\w+)(?:/|\.py)`", " ".join(rows))
    assert named == layers


@pytest.mark.parametrize("page", ["architecture", "decisions"])
def test_every_module_that_is_named_exists(page: str) -> None:
    missing = []
    for code in code_in(ROOT / "docs" / f"{page}.md"):
        if re.fullmatch(r"[\w/]+\.py", code):
            places = (ROOT / code, PACKAGE / code)
            if not any(place.exists() for place in places):
                missing.append(code)
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_that_is_named_exists(page: Path) -> None:
    commands: Any = typer.main.get_command(app)
    unknown = []
    for line in code_in(page):
        for name, second in COMMAND.findall(line):
            command = commands.commands.get(name)
            below = getattr(command, "commands", None)
            if command is None or (below and second and second.strip() not in below):
                unknown.append(f"aidsafe {name}{second}")
    assert unknown == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    named = {target for line in code_in(page) for target in MAKE_TARGET.findall(line)}
    assert named - targets == set()


def toml_blocks(page: Path) -> list[str]:
    text = page.read_text("utf-8")
    return re.findall(r"```toml\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_example_of_settings_is_valid(tmp_path: Path, page: Path) -> None:
    for block in toml_blocks(page):
        (tmp_path / "aidsafe.toml").write_text(block)
        load_settings(tmp_path, {})


def test_the_page_on_settings_names_every_profile_and_every_key_of_a_server() -> None:
    code = set(code_in(ROOT / "docs" / "settings.md"))
    assert set(profile_names()) - code == set()
    assert set(ServerSettings.model_fields) - {"profile"} - code == set()
