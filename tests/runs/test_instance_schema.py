"""A Dagster instance of another release of Dagster, as the doctor names it."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from tests.site import a_site, aidsafe, environment

BEFORE = "7e2f3204cf8e"
"""A revision of Dagster's tables from before the present one."""


def finding(folder: Path) -> str:
    lines = aidsafe(folder, "doctor").stdout.splitlines()
    (line,) = [line for line in lines if line.split()[1:2] == ["dagster"]]
    return line


def stamp(folder: Path, revision: str) -> None:
    file = folder / "data" / "dagster" / "history" / "runs.db"
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = ?", [revision])


def test_an_instance_of_an_earlier_dagster_is_named_with_the_command_that_mends_it(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path):
        assert finding(tmp_path).startswith("✓ dagster Dagster 1.")
        stamp(tmp_path, BEFORE)
        outdated = finding(tmp_path)
        assert outdated.startswith("✗ dagster its databases are of another release")
        assert "`dagster instance migrate`" in outdated
        subprocess.run(
            [sys.executable, "-m", "dagster", "instance", "migrate"],
            cwd=tmp_path,
            env=environment(tmp_path),
            check=True,
            capture_output=True,
        )
        assert finding(tmp_path).startswith("✓")


def test_without_an_instance_the_doctor_says_how_to_come_by_one(tmp_path: Path) -> None:
    done = aidsafe(tmp_path, "doctor", DAGSTER_HOME="")
    printed = " ".join(done.stdout.split())
    assert "– dagster no project: there is no dagster.yaml" in printed
    assert "`aidsafe init DIR` makes a project" in printed
