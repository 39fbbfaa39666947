"""Cut or scrambled files of the lake and the warehouse are named, and made again with the batch."""

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
from tests.site import (
    Site,
    a_site,
    aidsafe,
    contents,
    environment,
    prompts_file,
    some_prompts,
)

FLAWLESS = dict.fromkeys(
    ("unparsable", "whisper_fails", "missing_policy", "agent_talk"), 0
)
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
    """A site with one finished batch and a warehouse. Every test leaves it whole."""
    with a_site(tmp_path_factory.mktemp("site"), rehearsal=FLAWLESS) as site:
        site.ingest(prompts_file(site.folder, some_prompts(8)))
        assert site.make(BATCH).success
        assert build_reports(site) == ""
        yield site


def build_reports(site: Site) -> str:
    """Build the reports and the warehouse; return the error."""
    return run_job(site.instance, "build_reports").error


def cut_in_half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def count_prompts(site: Site) -> int:
    with duckdb.connect(str(site.settings.warehouse), read_only=True) as session:
        (count,) = session.execute("SELECT count(*) FROM prompts").fetchone() or (-1,)
    return int(count)


@pytest.mark.parametrize(
    "damaged",
    ["refined_cots/batch=mine-0001/rows", "seed_cots/batch=mine-0001/failures"],
)
def test_a_cut_file_is_named_wherever_it_is_read_and_made_again_with_the_batch(
    site: Site, damaged: str
) -> None:
    before = contents(site.lake)
    file = Path(str(site.lake.root)) / f"{damaged}.parquet"
    (prompt_id, *_) = site.lake.rows("prompts", BATCH)["prompt_id"]
    cut_in_half(file)
    for command in (("status",), ("show", prompt_id)):
        refused = aidsafe(site.folder, *command)
        printed = refused.stdout + refused.stderr
        assert (refused.returncode, "Traceback" in printed) == (2, False)
        assert f"{damaged}.parquet: not a readable Parquet file" in printed
        assert "make the batch again" in printed
    assert f"{damaged}.parquet" in build_reports(site)
    again = aidsafe(site.folder, "backfill")
    assert again.returncode == 0, again.stdout + again.stderr
    after = contents(site.lake)
    assert after.keys() == before.keys()
    for name, frame in after.items():
        assert frame.equals(before[name]), name


def test_a_scrambled_file_is_named_rather_than_raising_any_other_error(
    tmp_path: Path,
) -> None:
    lake = Lake(tmp_path)
    rng = random.Random(1)
    rows = pl.DataFrame(
        {
            "text": [str(n) * 50 for n in range(500)],
            "many": [[{"x": n}] for n in range(500)],
        }
    )
    lake.write("prompts", "b-0001", rows)
    file = Path(str(lake.rows_path("prompts", "b-0001")))
    whole = file.read_bytes()
    named = 0
    for _ in range(400):
        scrambled = bytearray(whole)
        for _ in range(rng.choice([1, 5, 50])):
            scrambled[rng.randrange(len(scrambled))] = rng.randrange(256)
        file.write_bytes(scrambled)
        try:
            lake.rows("prompts", "b-0001")
        except SetupError as error:
            named += str(file) in str(error)
    assert named > 300


def test_a_damaged_schema_file_is_replaced_by_the_next_build(site: Site) -> None:
    file = Path(str(site.lake.root)) / "prompts" / "_schema" / "rows.parquet"
    cut_in_half(file)
    assert build_reports(site) == ""
    assert count_prompts(site) == 8


def test_a_cut_warehouse_and_the_leftovers_of_a_dead_builder_are_replaced(
    site: Site,
) -> None:
    warehouse = site.settings.warehouse.absolute()
    cut_in_half(warehouse)
    command = [sys.executable, "-c", DIES_BUILDING, str(warehouse)]
    subprocess.run(command, env=environment(site.folder), check=False)
    assert len(list(warehouse.parent.glob(f"*{warehouse.name}*"))) == 2
    assert build_reports(site) == ""
    assert list(warehouse.parent.glob(f"*{warehouse.name}*")) == [warehouse]
    assert count_prompts(site) == 8


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
        assert build_reports(site) == ""
        print(file=session.stdin, flush=True)
        assert session.stdout.readline() == "8\n"
    assert count_prompts(site) == 8


def replace_by_a_folder(journal: Path) -> None:
    journal.unlink()
    journal.mkdir()


def scramble_texts(journal: Path) -> None:
    with closing(sqlite3.connect(journal)) as database, database:
        database.execute(
            "UPDATE completions SET text = CAST(x'ff' || CAST(text AS BLOB) AS TEXT)"
        )


@pytest.mark.parametrize(
    ("damage", "remedy"),
    [
        (replace_by_a_folder, "has to be a file"),
        (scramble_texts, r"\.recover.*move it away"),
    ],
)
def test_a_journal_that_cannot_be_used_names_the_remedy_and_shows_no_answer(
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
