"""Files of the lake and the warehouse that were cut or scrambled: named, and made anew by making the batch again."""

import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import polars as pl
import pytest

from aidsafe_dagster.cli.local_runs import run_job
from aidsafe_dagster.engines.journal import Entry, Journal
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.errors import SetupError
from tests.engines.test_journal import a_completion, a_request
from tests.faults.commands import BATCH
from tests.site import Site, a_site, contents, environment, prompts_file, some_prompts

FLAWLESS = dict.fromkeys(("unparsable", "whisper_fails", "missing_policy", "agent_talk"), 0)
HOLDS_A_SESSION = """
import sys, duckdb
with duckdb.connect(sys.argv[1], read_only=True) as session:
    print(session.execute("SELECT count(*) FROM prompts").fetchone()[0], flush=True)
    sys.stdin.readline()
    print(session.execute("SELECT count(*) FROM prompts").fetchone()[0], flush=True)
"""
DIES_BUILDING = """
import os, sys
from pathlib import Path
from aidsafe_dagster.primitives.atomic_write import atomic_write
with atomic_write(Path(sys.argv[1])) as beside:
    beside.write_bytes(b"half")
    os._exit(9)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with one batch that was made, and a warehouse; every test leaves it whole."""
    with a_site(tmp_path_factory.mktemp("site"), rehearsal=FLAWLESS) as site:
        site.ingest(prompts_file(site.folder, some_prompts(8)))
        assert site.make(BATCH).success
        assert build(site) == ""
        yield site


def build(site: Site) -> str:
    """Builds the reports and the warehouse; returns what went wrong."""
    return run_job(site.instance, "build_reports").error


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def counted(site: Site) -> int:
    with duckdb.connect(str(site.settings.warehouse), read_only=True) as session:
        (count,) = session.execute("SELECT count(*) FROM prompts").fetchone() or (-1,)
    return int(count)


@pytest.mark.parametrize(
    "damaged", ["refined_cots/batch=mine-0001/rows", "seed_cots/batch=mine-0001/failures"]
)
def test_a_cut_file_is_named_wherever_it_is_read_and_made_again_with_the_batch(
    site: Site, damaged: str, capfd: pytest.CaptureFixture[str]
) -> None:
    before = contents(site.lake)
    file = Path(str(site.lake.root)) / f"{damaged}.parquet"
    (prompt_id, *_) = site.lake.rows("prompts", BATCH)["prompt_id"]
    cut(file)
    for command in (("status",), ("show", prompt_id)):
        printed, code = a_command(command, capfd)
        assert (code, "Traceback" in printed) == (2, False)
        assert f"{damaged}.parquet: not a readable Parquet file" in printed
        assert "make the batch again" in printed
    assert f"{damaged}.parquet" in build(site)
    printed, code = a_command(("backfill",), capfd)
    assert code == 0, printed
    after = contents(site.lake)
    assert after.keys() == before.keys()
    assert [name for name, frame in after.items() if not frame.equals(before[name])] == []


def a_command(arguments: tuple[str, ...], capfd: pytest.CaptureFixture[str]) -> tuple[str, int]:
    """What a command prints, in this process, and its exit code."""
    from typer.testing import CliRunner

    from aidsafe_dagster.cli.app import app

    found = CliRunner().invoke(app, list(arguments))
    return found.output + capfd.readouterr().out, found.exit_code


def test_no_scrambled_file_passes_for_a_bug_of_ours(tmp_path: Path) -> None:
    lake, chance = Lake(tmp_path), random.Random(1)
    rows = pl.DataFrame(
        {"text": [str(n) * 50 for n in range(500)], "many": [[{"x": n}] for n in range(500)]}
    )
    lake.write("prompts", "b-0001", rows)
    file = Path(str(lake.rows_path("prompts", "b-0001")))
    whole, named = file.read_bytes(), 0
    for _ in range(400):
        scrambled = bytearray(whole)
        for _ in range(chance.choice([1, 5, 50])):
            scrambled[chance.randrange(len(scrambled))] = chance.randrange(256)
        file.write_bytes(scrambled)
        try:
            lake.rows("prompts", "b-0001")
        except SetupError as error:
            named += str(file) in str(error)
    assert named > 300


def test_a_damaged_schema_file_is_made_anew_by_the_next_build(site: Site) -> None:
    file = Path(str(site.lake.root)) / "prompts" / "_schema" / "rows.parquet"
    cut(file)
    assert build(site) == ""
    assert counted(site) == 8


def test_a_cut_warehouse_and_what_a_dead_builder_left_are_replaced(site: Site) -> None:
    warehouse = site.settings.warehouse.absolute()
    cut(warehouse)
    died = [sys.executable, "-c", DIES_BUILDING, str(warehouse)]
    subprocess.run(died, env=environment(site.folder), check=False)
    assert len([file for file in warehouse.parent.iterdir() if warehouse.name in file.name]) == 2
    assert build(site) == ""
    assert [file for file in warehouse.parent.iterdir() if warehouse.name in file.name] == [
        warehouse
    ]
    assert counted(site) == 8


def test_a_build_neither_waits_for_an_open_session_nor_breaks_it(site: Site) -> None:
    command = [sys.executable, "-c", HOLDS_A_SESSION, str(site.settings.warehouse)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(site.folder),
    ) as session:
        assert session.stdout is not None
        assert session.stdin is not None
        assert session.stdout.readline() == "8\n"
        assert build(site) == ""
        print(file=session.stdin, flush=True)
        assert session.stdout.readline() == "8\n"
    assert counted(site) == 8


def into_a_folder(journal: Path) -> None:
    journal.unlink()
    journal.mkdir()


def scramble_its_texts(journal: Path) -> None:
    with closing(sqlite3.connect(journal)) as database, database:
        database.execute("UPDATE completions SET text = CAST(x'ff' || CAST(text AS BLOB) AS TEXT)")


@pytest.mark.parametrize(
    ("damage", "remedy"),
    [(into_a_folder, "has to be a file"), (scramble_its_texts, r"\.recover.*move it away")],
)
def test_a_journal_that_cannot_be_used_says_what_can_be_done_and_nothing_of_an_answer(
    tmp_path: Path, damage: Callable[[Path], None], remedy: str
) -> None:
    file = tmp_path / "journal.sqlite"
    journal = Journal(f"sqlite:///{file}")
    journal.record(Entry("a key", a_request(), a_completion("a secret answer"), 0.1))
    journal.close()
    damage(file)
    with pytest.raises(SetupError, match=f"{file}: .*{remedy}") as raised:
        Journal(f"sqlite:///{file}").find("a key")
    assert "secret" not in str(raised.value)
