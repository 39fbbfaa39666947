"""The two environments are separate: the scripts import nothing of ours, and we import no torch."""

import ast
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.site import ROOT

PACKAGE = ROOT / "aidsafe_dagster"
SCRIPTS = sorted((PACKAGE / "training/scripts").glob("*.py"))
LIBRARIES = {"torch", "transformers", "trl", "peft", "datasets"}


def imported_packages(file: Path) -> Iterable[str]:
    """Yield the top-level packages that a file imports anywhere."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_imports_only_the_training_environment(script: Path) -> None:
    siblings = {file.stem for file in SCRIPTS}
    # Parquet is read by what `datasets` reads it with.
    known = siblings | LIBRARIES | {"pyarrow"}
    assert set(imported_packages(script)) - known <= sys.stdlib_module_names


def test_nothing_else_imports_the_training_environment() -> None:
    others = [file for file in PACKAGE.rglob("*.py") if file not in SCRIPTS]
    assert len(others) > 50
    for file in others:
        assert not LIBRARIES & set(imported_packages(file)), file.name
