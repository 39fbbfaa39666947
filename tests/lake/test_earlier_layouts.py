"""What earlier releases left can be read, or says what to run; what a later one left says so."""

import hashlib
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import duckdb
import polars as pl
import pytest

from aidsafe_dagster.cli.local_runs import run_job
from aidsafe_dagster.engines.journal import Journal, read_answers
from aidsafe_dagster.lake.earlier_layouts import LAYOUT, LAYOUT_KEY, OtherLayout
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import from_frame, schema_of
from aidsafe_dagster.recipe.batch_recipe import StageRecipe
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import (
    BELIEF_CANDIDATES,
    Failure,
    FineTuneRow,
    PreferencePair,
    Record,
    RefinedCot,
    Stage,
    TriedBelief,
)
from aidsafe_dagster.recipe.stages import STAGES, always_made
from aidsafe_dagster.resources.warehouse import create_views
from tests.lake.releases import (
    BATCH,
    FIRST,
    LOCK,
    NEWEST,
    PHISHING,
    RELEASED,
    SKY,
    a_site_of,
    as_a_later_release,
    each_layout,
)
from tests.site import aidsafe

COLUMNS_OF_LAYOUT = {1: "fb22", 2: "3efd", 3: "3990", 4: "60ae", 5: "21e7"}
UNREADABLE = {
    (FIRST, Stage.PREFERENCE_PAIRS),
    (FIRST, Stage.FINE_TUNE_SPLITS),
}
"""What the first release did not know of these rows cannot be made up."""
REMEDY = f"`aidsafe backfill {BATCH}`"


def columns_of_this_release() -> str:
    records: list[type[Record]] = [stage.record for stage in STAGES.values()]
    schemas = [
        str(schema_of(record))
        for record in (*records, Failure, TriedBelief, StageRecipe)
    ]
    return hashlib.blake2b("\n".join(schemas).encode(), digest_size=2).hexdigest()


def test_the_number_of_the_layout_is_raised_with_its_columns() -> None:
    """If this fails: raise LAYOUT, keep a lake of the release before, give older rows a value."""
    assert COLUMNS_OF_LAYOUT[LAYOUT] == columns_of_this_release()


@each_layout
def test_the_rows_of_every_stage_are_read_or_say_what_to_run(layout: str) -> None:
    lake = Lake(RELEASED / layout / "lake")
    for stage, definition in STAGES.items():
        if definition.is_optional:
            continue
        if not lake.has(stage, BATCH):
            assert layout == FIRST
            assert stage in (Stage.SINGLE_LLM_COTS, Stage.COT_GRADES)
        elif (layout, stage) in UNREADABLE:
            with pytest.raises(OtherLayout, match=f"{stage}/batch={BATCH}.*{REMEDY}"):
                lake.records(stage, BATCH, definition.record)
        else:
            assert lake.records(stage, BATCH, definition.record)


def test_an_older_row_has_nothing_where_nothing_was_written() -> None:
    pairs = Lake(RELEASED / "2026-11-28" / "lake").records(
        Stage.PREFERENCE_PAIRS, BATCH, PreferencePair
    )
    for pair in pairs:
        assert {candidate.left_out for candidate in pair.candidates} == {""}
        texts = len(pair.chosen_cot) + len(pair.chosen_response)
        others = len(pair.rejected_cot) + len(pair.rejected_response)
        assert pair.length_ratio == texts / others


def test_rows_that_were_read_beside_newer_ones_are_completed_as_well(
    tmp_path: Path,
) -> None:
    with a_site_of(FIRST, tmp_path / "site") as site:
        newer = RELEASED / NEWEST / "lake" / "refined_cots" / f"batch={BATCH}"
        shutil.copytree(newer, newer_batch(site.folder, "refined_cots"))
        rows = site.lake.all_rows(Stage.REFINED_COTS)
        assert rows is not None
        # What the older file lacks is null here.
        records = from_frame(rows, RefinedCot)
        assert {record.servers for record in records} >= {()}
        assert {record.usage.cost for record in records} == {0.0}


def newer_batch(folder: Path, table: str) -> Path:
    return folder / "data" / "lake" / table / "batch=prompts-0002"


@each_layout
def test_every_command_that_reads_rows_answers(layout: str, tmp_path: Path) -> None:
    with a_site_of(layout, tmp_path / "site") as site:
        for arguments in (["status"], ["failures"], ["review", "make", "--out", "r"]):
            done = aidsafe(site.folder, *arguments)
            assert (done.returncode, done.stderr) == (0, ""), done.stdout
        for prompt_id in (LOCK, SKY, PHISHING):
            done = aidsafe(site.folder, "show", prompt_id)
            assert (done.returncode, done.stderr) == (0, ""), done.stdout
            assert "refined_cots" in done.stdout
            assert (REMEDY in done.stdout) == (layout == FIRST)


@each_layout
@pytest.mark.parametrize("row_format", ["trl-sft", "trl-dpo", "deliberations"])
def test_rows_are_exported_or_say_what_to_run(
    layout: str, row_format: str, tmp_path: Path
) -> None:
    with a_site_of(layout, tmp_path / "site") as site:
        options = ["--format", row_format, "--allow-simulated", "--out", "out"]
        done = aidsafe(site.folder, "export", *options)
    if layout == FIRST:
        assert done.returncode == 2
        assert "fine_tune_splits/batch=prompts-0001/rows.parquet" in done.stdout
        assert REMEDY in done.stdout
    else:
        assert done.returncode == 0, done.stdout
        assert list((site.folder / "out").iterdir())


@each_layout
def test_a_dry_run_of_publishing_makes_the_dataset_or_says_what_to_run(
    layout: str, tmp_path: Path
) -> None:
    with a_site_of(layout, tmp_path / "site") as site:
        done = aidsafe(site.folder, "publish", "--allow-simulated")
    if layout == FIRST:
        assert done.returncode == 1
        # The run's error is shown as a person would write it, without a class.
        assert done.stdout.startswith(f"Error batch '{BATCH}', file fine_tune_splits")
        assert REMEDY in done.stdout
    else:
        assert done.returncode == 0, done.stdout


@each_layout
def test_the_reports_and_the_warehouse_are_built(layout: str, tmp_path: Path) -> None:
    with a_site_of(layout, tmp_path / "site") as site:
        assert run_job(site.instance, "build_reports").success
        report = (site.folder / "data" / "reports" / "quality_report.md").read_text()
        assert "prompts-0001" in report or "rehearsal" in report.lower()
        with closing(duckdb.connect(str(site.settings.warehouse))) as warehouse:
            for stage in STAGES:
                warehouse.execute(f"SELECT count(*) FROM {stage}")
            counts = warehouse.execute("SELECT count(*) FROM refined_cots").fetchall()
    assert counts == [(len(site.lake.rows(Stage.REFINED_COTS, BATCH)),)]


@each_layout
def test_one_view_holds_rows_of_earlier_and_present_layouts(
    layout: str, tmp_path: Path
) -> None:
    with a_site_of(layout, tmp_path / "site") as site:
        for stage in always_made():
            newer = RELEASED / NEWEST / "lake" / str(stage) / f"batch={BATCH}"
            shutil.copytree(newer, newer_batch(site.folder, str(stage)))
        with closing(duckdb.connect()) as connection:
            create_views(connection, site.lake)
            candidates = (
                "SELECT count(*), count(one.left_out) FROM "
                "(SELECT unnest(candidates) AS one FROM preference_pairs)"
            )
            ((rows, recorded),) = connection.execute(candidates).fetchall()
            grades = connection.execute("SELECT count(*) FROM grades").fetchall()
    assert rows >= recorded > 0
    assert grades != [(0,)]


def test_keep_recipe_makes_what_cannot_be_read_and_leaves_the_rest(
    tmp_path: Path,
) -> None:
    with a_site_of(
        FIRST,
        tmp_path / "site",
    ) as site:
        refined = site.lake.fingerprint(Stage.REFINED_COTS, BATCH)
        done = aidsafe(site.folder, "backfill", BATCH, "--keep-recipe")
        assert done.returncode == 0, done.stdout
        assert site.lake.fingerprint(Stage.REFINED_COTS, BATCH) == refined
        rows = site.lake.records(Stage.FINE_TUNE_SPLITS, BATCH, FineTuneRow)
        assert {row.kind for row in rows} == {"sft", "dpo"}


@each_layout
def test_a_journal_opens_and_answers_with_what_it_holds(
    layout: str, tmp_path: Path
) -> None:
    file = tmp_path / "journal.sqlite"
    shutil.copyfile(RELEASED / layout / "journal.sqlite", file)
    with closing(sqlite3.connect(file)) as database:
        answers = dict(database.execute("SELECT key, text FROM completions"))
    journal = Journal(f"sqlite:///{file}")
    recorded = journal.find_all(list(answers))
    journal.close()
    assert {key: completion.text for key, completion in recorded.items()} == answers
    assert {completion.reasoning for completion in recorded.values()} == {""}
    stage = str(Stage.REFINED_COTS)
    assert read_answers(f"sqlite:///{file}", SKY, stage, 0, 0)


def test_a_journal_of_a_later_release_says_so(tmp_path: Path) -> None:
    file = tmp_path / "journal.sqlite"
    Journal(f"sqlite:///{file}").close()
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE journal SET version = 3")
    with pytest.raises(SetupError, match=r"version 3.*a later release"):
        Journal(f"sqlite:///{file}")


def test_what_is_written_holds_the_number_of_its_layout(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.write("prompts", BATCH, pl.DataFrame({"a": [1]}))
    metadata = pl.read_parquet_metadata(Path(str(lake.rows_path("prompts", BATCH))))
    assert metadata[LAYOUT_KEY] == str(LAYOUT)


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["show", SKY],
        ["export", "--format", "trl-sft", "--allow-simulated", "--out", "out"],
        ["publish", "--allow-simulated"],
        ["backfill", BATCH],
    ],
)
def test_a_lake_of_a_later_release_says_so_and_is_left_as_it_is(
    arguments: list[str], tmp_path: Path
) -> None:
    with a_site_of(NEWEST, tmp_path / "site", later=True) as site:
        files = sorted((site.folder / "data" / "lake").rglob("rows.parquet"))
        before = [file.read_bytes() for file in files]
        done = aidsafe(site.folder, *arguments)
        assert "a later release of aidsafe wrote it" in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        assert [file.read_bytes() for file in files] == before


def test_a_column_nobody_knows_is_of_a_later_release_without_a_number_too(
    tmp_path: Path,
) -> None:
    shutil.copytree(RELEASED / NEWEST / "lake", tmp_path / "lake")
    lake = Lake(tmp_path / "lake")
    file = as_a_later_release(lake, str(Stage.REFINED_COTS))
    pl.read_parquet(file).write_parquet(file)
    with pytest.raises(OtherLayout, match=r"a later release.*hue.*backfill"):
        lake.records(Stage.REFINED_COTS, BATCH, RefinedCot)


def test_nothing_of_the_machine_is_in_what_is_kept() -> None:
    for file in RELEASED.rglob("*.parquet"):
        table = str(pl.read_parquet(file).rows())
        for place in ("/home/", "/root", "/work", "/tmp"):
            assert place not in table, file
    assert BELIEF_CANDIDATES in {
        folder.name for folder in (RELEASED / NEWEST / "lake").iterdir()
    }
