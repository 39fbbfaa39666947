"""Reading ahead across the steps of real runs, against a model server."""

import re
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.cli.local_runs import BatchRun, run_job
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.recipe.stages import always_made
from tests.serving import LENIENT, ModelServer, a_model_server
from tests.site import (
    NO_FAULTS,
    ROOT,
    Site,
    a_site,
    contents,
    prompts_file,
    some_prompts,
)

BATCH = "mine-0001"
COUNT = 24
ALL = tuple(map(Stage, always_made()))
DIALOGUES = [
    stage
    for stage in always_made()
    if stage not in (Stage.PROMPTS, Stage.FINE_TUNE_SPLITS)
]


def settings_for(server: ModelServer, **driver: Any) -> dict[str, Any]:
    return {
        "engine": "endpoint",
        "endpoint": {"base_url": server.base_url, "model": "fake-model", "slots": 16},
        "driver": {"backoff_s": 0.01, "max_backoff_s": 0.05, **driver},
        "checks": LENIENT,
    }


def ingest(site: Site) -> None:
    assert site.ingest(prompts_file(site.folder, some_prompts(COUNT))).success


def make(site: Site, *stages: Stage) -> BatchRun:
    return run_job(site.instance, "make_batch", partition=BATCH, stages=stages)


def journaled(site: Site) -> Counter[str]:
    """Count the completions in the journal by stage."""
    with closing(sqlite3.connect(site.settings.home / "journal.sqlite")) as connection:
        return Counter(
            stage for (stage,) in connection.execute("SELECT stage FROM completions")
        )


def logged(site: Site, run_id: str) -> list[str]:
    return [entry.user_message for entry in site.instance.all_logs(run_id)]


def test_read_ahead_or_not_the_same_rows_are_made_with_the_same_calls(
    tmp_path: Path,
) -> None:
    calls, rows = {}, {}
    for read_ahead in (True, False):
        folder = tmp_path / str(read_ahead)
        folder.mkdir()
        with (
            a_model_server(folder) as server,
            a_site(
                folder / "site", **settings_for(server, read_ahead=read_ahead)
            ) as site,
        ):
            ingest(site)
            run = site.make(BATCH)
            assert run.success, run.error
            shown = {stage: site.metadata(stage, BATCH) for stage in DIALOGUES}
            calls_ahead = sum(
                metadata["calls_read_ahead"] for metadata in shown.values()
            )
            assert (calls_ahead > 0) is read_ahead
            assert sum(metadata["calls_replayed"] for metadata in shown.values()) == 0
            calls[read_ahead] = {
                stage: shown[stage]["calls_made"] for stage in DIALOGUES
            }
            total = sum(calls[read_ahead].values())
            assert total == server.stats()["ok"] == journaled(site).total()
            rows[read_ahead] = {
                path: file.rows() for path, file in contents(site.lake).items()
            }
    assert calls[True] == calls[False]
    assert rows[True] == rows[False]


def test_a_closed_gate_wastes_the_calls_read_ahead_and_nothing_else(
    tmp_path: Path,
) -> None:
    with a_model_server(tmp_path, faults={"poison": 0.05}) as server:
        settings = settings_for(server) | {
            "checks": LENIENT | {"max_failure_share": 0.0}
        }
        with a_site(tmp_path / "site", **settings) as site:
            ingest(site)
            run = site.make(BATCH)
            assert "seed_cots" in run.error
            assert not site.lake.has(Stage.DELIBERATED_COTS, BATCH)
            assert journaled(site)[Stage.DELIBERATED_COTS] > 0
            wasted = "Read-ahead calls that this run did not use"
            assert any(wasted in line for line in logged(site, run.run_id))

            server.control(faults={}, reset=True)
            before = journaled(site).total()
            assert site.make(BATCH).success
            assert server.stats()["ok"] == journaled(site).total() - before


def test_nothing_is_read_ahead_that_the_run_was_not_asked_to_make(
    tmp_path: Path,
) -> None:
    with (
        a_model_server(tmp_path) as server,
        a_site(tmp_path / "site", **settings_for(server)) as site,
    ):
        ingest(site)
        assert make(site, Stage.PROMPTS, Stage.SEED_COTS).success
        assert set(journaled(site)) == {Stage.SEED_COTS}


def test_a_wrong_address_of_a_later_stage_s_model_is_the_error_of_that_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_model_server(tmp_path) as server:
        monkeypatch.setenv(
            "AIDSAFE_ROLES__REFINER__BASE_URL", f"{server.root}/nowhere/v1"
        )
        monkeypatch.setenv("AIDSAFE_ROLES__REFINER__MODEL", "none")
        with a_site(tmp_path / "site", **settings_for(server)) as site:
            ingest(site)
            run = make(
                site,
                Stage.PROMPTS,
                Stage.SEED_COTS,
                Stage.DELIBERATED_COTS,
                Stage.REFINED_COTS,
            )
            assert not run.success
            assert "nowhere" in run.error
            assert site.lake.rows(Stage.DELIBERATED_COTS, BATCH).height == COUNT
            assert not site.lake.has(Stage.REFINED_COTS, BATCH)


def test_nothing_is_asked_about_rows_that_the_run_is_about_to_replace(
    tmp_path: Path,
) -> None:
    calls = {}
    for read_ahead in (True, False):
        folder = tmp_path / str(read_ahead)
        driver = {"read_ahead": read_ahead}
        with a_site(folder, rehearsal=NO_FAULTS, driver=driver) as site:
            assert site.ingest(prompts_file(folder, some_prompts(6))).success
            assert make(site, *ALL).success
            # Every stored row is now of another recipe, the single-LLM CoTs that are graded too.
            policies = folder / "policies"
            policies.mkdir()
            for file in (ROOT / "aidsafe_dagster" / "policies").glob("*.toml"):
                text = re.sub(
                    r'^(\d+) = "',
                    r'\1 = "As ever: ',
                    file.read_text(),
                    flags=re.MULTILINE,
                )
                (policies / file.name).write_text(text)
            settings_file = folder / "aidsafe.toml"
            settings_file.write_text(
                f'policies = "policies"\n{settings_file.read_text()}'
            )
            before = journaled(site)
            assert make(site, *ALL).success
            calls[read_ahead] = journaled(site) - before
    assert calls[True] == calls[False]
