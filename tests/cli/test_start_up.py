"""What a command imports: nothing that it does not use, so that it answers at once."""

import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from aidsafe_dagster.cli import choices
from aidsafe_dagster.recipe import fine_tune_splits, format_types, formats
from aidsafe_dagster.selection import store
from tests.site import aidsafe, environment, prepare

SLOW = {
    "aiohttp",
    "dagster",
    "duckdb",
    "great_expectations",
    "huggingface_hub",
    "matplotlib",
    "pandas",
    "polars",
    "scipy",
    "sklearn",
    "sqlalchemy",
}
PROGRAM = """
import json, sys
from aidsafe_dagster.cli.app import app
try:
    app(sys.argv[2:])
finally:
    with open(sys.argv[1], "w") as file:
        json.dump(sorted(sys.modules), file)
"""


def imported_by(folder: Path, *arguments: str) -> set[str]:
    """Run a command, and return the names of the modules that it imported."""
    prepare(folder)
    names = folder / "imported.json"
    outcome = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(names), *arguments],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in outcome.stderr, outcome.stderr
    return set(json.loads(names.read_text()))


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("--version",),
        ("export", "--help"),
        ("review", "--help"),
        ("plan", "--help"),
        ("try", "--help"),
        ("policy", "lint", "--help"),
    ],
)
def test_help_and_version_import_no_large_library(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    assert imported_by(tmp_path, *arguments) & SLOW == set()


def test_show_imports_what_reads_parquet_and_no_dagster(tmp_path: Path) -> None:
    imported = imported_by(tmp_path, "show", "unknown")
    assert imported & SLOW == {"polars"}
    assert "aidsafe_dagster.definitions" not in imported


def test_status_imports_no_definitions_and_nothing_that_draws_or_computes(
    tmp_path: Path,
) -> None:
    prepare(tmp_path)
    assert (
        aidsafe(tmp_path, "status").returncode == 0
    )  # the first one lets Dagster make its tables
    imported = imported_by(tmp_path, "status")
    assert imported & SLOW == {"polars"}
    assert "aidsafe_dagster.definitions" not in imported


def test_a_tryout_on_the_rehearsal_imports_no_dagster_and_no_http_client(
    tmp_path: Path,
) -> None:
    imported = imported_by(tmp_path, "try", "-n", "1", "--no-gates")
    assert imported & SLOW == {"polars", "scipy", "sqlalchemy"}


def test_the_version_is_that_of_the_package(tmp_path: Path) -> None:
    prepare(tmp_path)
    outcome = aidsafe(tmp_path, "--version")
    assert outcome.returncode == 0
    assert outcome.stdout.startswith("aidsafe_dagster 0.")


def test_the_options_offer_the_choices_of_the_recipe() -> None:
    assert get_args(choices.Split) == get_args(fine_tune_splits.Split)
    assert get_args(choices.Reasoning) == get_args(format_types.Reasoning)
    assert tuple(formats.FORMATS) == choices.FORMAT_NAMES
    assert set(get_args(choices.Arm)) == set(store.ARMS)
