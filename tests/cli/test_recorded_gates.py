"""The state of the gates as `aidsafe status` reads it, against what Dagster itself answers."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from aidsafe_dagster.cli.local_runs import run_job
from aidsafe_dagster.cli.recorded_gates import (
    GateReader,
    RecordedChecks,
    event_log,
    open_gates,
)
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.recipe.stages import always_made
from aidsafe_dagster.stages.gates import read_gate
from tests.site import Site, a_site, prompts_file, some_prompts

BATCH = "mine-0001"
EVENT_LOG = Path("data") / "dagster" / "history" / "runs" / "index.db"


@contextmanager
def a_checked_site(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A site with a batch whose prompts are made and checked, and no stage after them."""
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    with a_site(folder) as site:
        assert site.ingest(prompts_file(folder, some_prompts(3))).success
        assert run_job(
            site.instance, "make_batch", partition=BATCH, stages=[Stage.PROMPTS]
        ).success
        yield site


def verdicts(site: Site, recorded: GateReader) -> list[str]:
    """The verdicts on the prompts, after making sure that Dagster agrees on every stage."""
    for stage in always_made():
        assert recorded(stage, BATCH) == read_gate(
            site.instance, site.lake, stage, BATCH
        ), stage
    return sorted(set(recorded(Stage.PROMPTS, BATCH).verdicts.values()))


def read_verdicts(site: Site) -> list[str]:
    with open_gates(site.lake) as recorded:
        return verdicts(site, recorded)


def execute(statement: str) -> None:
    with closing(sqlite3.connect(EVENT_LOG)) as database, database:
        assert database.execute(statement).rowcount > 0


def test_a_checked_batch_has_passed_and_a_changed_one_is_outdated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_checked_site(tmp_path, monkeypatch) as site:
        assert event_log() == tmp_path / EVENT_LOG
        assert read_verdicts(site) == ["passed"]
        rows = site.lake.rows(Stage.PROMPTS, BATCH)
        site.lake.write(Stage.PROMPTS, BATCH, rows.head(2))
        assert read_verdicts(site) == ["outdated"]


def test_a_failed_check_and_one_that_was_never_made_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_checked_site(tmp_path, monkeypatch) as site:
        execute("UPDATE asset_check_executions SET execution_status = 'FAILED'")
        assert read_verdicts(site) == ["failed"]
        execute("DELETE FROM asset_check_executions")
        assert read_verdicts(site) == ["missing"]


def test_a_later_run_that_only_planned_its_checks_hides_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_checked_site(tmp_path, monkeypatch) as site:
        execute(
            "INSERT INTO asset_check_executions (asset_key, check_name, partition, run_id, "
            "execution_status) SELECT asset_key, check_name, partition, 'later', 'PLANNED' "
            "FROM asset_check_executions"
        )
        assert read_verdicts(site) == ["passed"]


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE asset_check_executions RENAME COLUMN partition TO partition_key",
        "ALTER TABLE asset_check_executions RENAME TO other",
    ],
)
def test_an_event_log_that_looks_different_is_left_to_dagster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    with a_checked_site(tmp_path, monkeypatch):
        with closing(sqlite3.connect(EVENT_LOG)) as database, database:
            database.execute(statement)
        with pytest.raises(sqlite3.OperationalError):
            RecordedChecks(tmp_path / EVENT_LOG)


@pytest.mark.parametrize(
    "config",
    [
        "",
        "storage: {postgres: {postgres_url: 'postgresql://h/d'}}",
        "storage: {sqlite: {base_dir: {env: BASE}}}",
        "storage: {sqlite: {base_dir: nowhere}}",
        "storage: {sqlite: {base_dir: data/dagster}}\nevent_log_storage: {module: m, class: C}",
        "storage: {custom: {module: m, class: C, config: {base_dir: data/dagster}}}",
    ],
)
def test_storage_other_than_the_shipped_one_is_left_to_dagster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / EVENT_LOG).parent.mkdir(parents=True)
    (tmp_path / EVENT_LOG).touch()
    (tmp_path / "dagster.yaml").write_text(config)
    assert event_log() is None


def test_other_storage_gives_the_same_answer_through_dagster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_checked_site(tmp_path, monkeypatch) as site:
        config = tmp_path / "dagster.yaml"
        monkeypatch.setenv("BASE", "data/dagster")
        config.write_text(
            config.read_text().replace(
                "base_dir: data/dagster\n", "base_dir: {env: BASE}\n", 1
            )
        )
        assert event_log() is None
        assert read_verdicts(site) == ["passed"]


def test_without_an_instance_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_checked_site(tmp_path, monkeypatch) as site:
        monkeypatch.setenv("DAGSTER_HOME", os.devnull)
        with pytest.raises(SetupError, match="DAGSTER_HOME"), open_gates(site.lake):
            pass
