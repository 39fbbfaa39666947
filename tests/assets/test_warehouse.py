"""The warehouse after real runs: views for analysts and trainers, readable while it is rebuilt."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import duckdb
import pytest

from aidsafe_dagster.cli.local_runs import run_job
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.recipe.stages import STAGES, always_made
from aidsafe_dagster.resources.warehouse import create_views
from tests.site import NO_FAULTS, Site, a_copy_of, a_site, prompts_file, some_prompts

UNNESTED = ("grades", "comparisons")
TABLES = {
    *map(str, STAGES),
    "ingested",
    "dropped_prompts",
    "belief_candidates",
    "failures",
    "accounting",
    "sft",
    "dpo",
    "selection",
    "translations",
    *UNNESTED,
}
MESSAGES = "STRUCT(role VARCHAR, content VARCHAR)[]"
LINEAGE = {
    "split": "VARCHAR",
    "prompt_id": "VARCHAR",
    "own_id": "VARCHAR",
    "source": "VARCHAR",
    "licence": "VARCHAR",
    "simulated": "BOOLEAN",
}
FAULTS = {
    "unparsable": 0.04,
    "over_filtered": 0.1,
    "whisper_fails": 0.2,
    "missing_policy": 0.1,
}
READER = """
import duckdb, sys
session = duckdb.connect(sys.argv[1], read_only=True)
for _ in sys.stdin:
    print(session.execute("SELECT count(*) FROM seed_cots").fetchone()[0], flush=True)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two batches with many failures, one row dropped, and the warehouse built."""
    folder = tmp_path_factory.mktemp("site")
    with a_site(
        folder,
        checks={"max_failure_share": 0.9},
        rehearsal=FAULTS,
        ingest={"batch_size": 10},
    ) as site:
        prompts = some_prompts(20)
        assert site.ingest(prompts_file(folder, [*prompts, prompts[0]])).success
        assert [site.make(batch).error for batch in site.batches] == ["", ""]
        assert build(site)
        yield site


def build(site: Site) -> bool:
    return run_job(site.instance, "build_reports").success


@contextmanager
def opened(site: Site) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(site.settings.warehouse), read_only=True) as connection:
        yield connection


def count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    result = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert result is not None
    return int(result[0])


def kinds(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    query = "SELECT table_name, table_type FROM information_schema.tables"
    return dict(connection.execute(query).fetchall())


def columns(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    return {
        row[0]: row[1].replace('"', "")
        for row in connection.execute(f"DESCRIBE {table}").fetchall()
    }


def test_there_is_a_view_per_table_with_the_lake_s_rows_and_columns(
    built: Site,
) -> None:
    with opened(built) as connection:
        assert kinds(connection) == dict.fromkeys(TABLES, "VIEW")
        for stage in always_made():
            definition = STAGES[stage]
            rows = built.lake.all_rows(stage)
            assert rows is not None
            assert count(connection, stage) == rows.height > 0
            assert list(columns(connection, stage)) == list(
                definition.record.model_fields
            )
        assert count(connection, "ingested") == 20
        assert count(connection, "dropped_prompts") == 1


def test_the_failures_of_all_stages_are_in_one_view(built: Site) -> None:
    counts = {str(stage): failures_of(built.lake, stage) for stage in always_made()}
    some = {stage: count for stage, count in counts.items() if count}
    assert len(some) > 1
    with opened(built) as connection:
        query = "SELECT stage, count(*) FROM failures GROUP BY stage"
        assert dict(connection.execute(query).fetchall()) == some


def failures_of(lake: Lake, stage: str) -> int:
    return sum(lake.failures(stage, batch).height for batch in lake.batches(stage))


def test_every_ingested_prompt_is_accounted_for_at_every_stage(built: Site) -> None:
    with opened(built) as connection:
        account = {}
        for batch, stage, rows, failures in connection.execute(
            "FROM accounting"
        ).fetchall():
            account[batch, stage] = (rows, failures)
        query = "SELECT batch, count(*) FROM ingested GROUP BY batch"
        for batch, ingested in connection.execute(query).fetchall():
            lost = 0
            for stage in always_made():
                if stage is Stage.FINE_TUNE_SPLITS:
                    continue
                rows, failures = account[batch, str(stage)]
                lost += failures
                assert rows + lost == ingested, f"{batch} {stage}"
            assert lost > 0
            both = (
                account[batch, "refined_cots"][0]
                + account[batch, "preference_pairs"][0]
            )
            # A row below a floor is left out, and counted.
            assert sum(account[batch, "fine_tune_splits"]) == both


def test_the_account_is_in_the_order_of_the_recipe(built: Site) -> None:
    with opened(built) as connection:
        rows = connection.execute("SELECT batch, stage FROM accounting").fetchall()
    assert rows == [
        (batch, str(stage)) for batch in built.batches for stage in always_made()
    ]


def test_sft_and_dpo_have_the_columns_that_trl_trains_on(built: Site) -> None:
    with opened(built) as connection:
        assert (
            columns(connection, "sft")
            == {"messages": MESSAGES, "thinking": "VARCHAR", "response": "VARCHAR"}
            | LINEAGE
        )
        assert (
            columns(connection, "dpo")
            == {"prompt": MESSAGES, "chosen": MESSAGES, "rejected": MESSAGES} | LINEAGE
        )
        assert count(connection, "sft") + count(connection, "dpo") == count(
            connection, "fine_tune_splits"
        )
        assert count(connection, "dpo") == count(connection, "preference_pairs") > 0
        assert (
            count(connection, "sft WHERE NOT simulated")
            == count(connection, "dpo WHERE NOT simulated")
            == 0
        )


def test_a_training_row_reads_as_a_conversation(built: Site) -> None:
    with opened(built) as connection:
        for messages, thinking, response in connection.execute(
            "SELECT messages, thinking, response FROM sft"
        ).fetchall():
            assert [message["role"] for message in messages] == ["user", "assistant"]
            assert (
                messages[1]["content"] == f"<think>\n{thinking}\n</think>\n\n{response}"
            )
        for prompt, chosen, rejected in connection.execute(
            "SELECT prompt, chosen, rejected FROM dpo"
        ).fetchall():
            assert [message["role"] for message in prompt] == ["user"]
            assert [message["role"] for message in chosen] == ["assistant"]
            assert [message["role"] for message in rejected] == ["assistant"]
            assert chosen != rejected


def test_an_open_session_neither_blocks_a_rebuild_nor_breaks_and_sees_new_batches(
    finished_site: Path, tmp_path: Path
) -> None:
    with a_copy_of(finished_site, tmp_path / "site") as site:
        assert build(site)
        with a_session_elsewhere(site.settings.warehouse) as count_rows:
            assert count_rows() == 10
            assert site.ingest(prompts_file(site.folder, some_prompts(12))).success
            stages = [Stage.PROMPTS, Stage.SEED_COTS]
            run = run_job(
                site.instance, "make_batch", partition="mine-0002", stages=stages
            )
            assert run.success, run.error
            assert count_rows() == 12  # in the file that was built before that batch
            before = site.settings.warehouse.stat().st_ino
            assert build(site)
            assert site.settings.warehouse.stat().st_ino != before
            assert count_rows() == 12
        with opened(site) as connection:
            assert count(connection, "seed_cots") == 12
        files = [file.name for file in site.settings.home.glob("*warehouse*")]
        assert files == ["warehouse.duckdb"]


@contextmanager
def a_session_elsewhere(warehouse: Path) -> Iterator[Callable[[], int]]:
    """Open the warehouse in another process, for reading; yields what counts rows there."""
    command = [sys.executable, "-c", READER, str(warehouse)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        stdin, stdout = reader.stdin, reader.stdout
        assert stdin is not None
        assert stdout is not None

        def count_rows() -> int:
            print(file=stdin, flush=True)
            return int(stdout.readline())

        yield count_rows


def test_over_an_empty_lake_every_table_is_there_and_empty(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        assert build(site)
        with opened(site) as connection:
            assert kinds(connection) == dict.fromkeys(TABLES, "VIEW")
            assert {name: count(connection, name) for name in TABLES} == dict.fromkeys(
                TABLES, 0
            )
            assert columns(connection, "dpo")["chosen"] == MESSAGES


def test_over_an_object_store_it_holds_tables_with_the_same_rows(
    tmp_path: Path,
) -> None:
    with a_site(
        tmp_path, lake_url=f"memory://{uuid4().hex}/lake", rehearsal=NO_FAULTS
    ) as site:
        assert build(site)
        assert site.ingest(prompts_file(tmp_path, some_prompts(2))).success
        assert site.make("mine-0001").success
        assert build(site)
        with opened(site) as connection:
            assert kinds(connection) == dict.fromkeys(
                TABLES, "BASE TABLE"
            ) | dict.fromkeys(("accounting", "sft", "dpo", *UNNESTED), "VIEW")
            assert {
                name: count(connection, name)
                for name in ("ingested", "sft", "dpo", "failures")
            } == {
                "ingested": 2,
                "sft": 2,
                "dpo": 2,
                "failures": 0,
            }
            assert columns(connection, "sft")["messages"] == MESSAGES


@pytest.mark.parametrize("name", ["it's 100% mine?", "mine [1]"])
def test_a_lake_may_lie_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    with (
        a_site(tmp_path / "site", home=str(tmp_path / name)) as site,
        duckdb.connect() as connection,
    ):
        assert site.ingest(prompts_file(tmp_path, some_prompts(2))).success
        create_views(connection, site.lake)
        assert count(connection, "ingested") == 2
