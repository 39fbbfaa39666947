"""Runs against a real model server: faults, outages, and death in the middle."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from aidsafe_dagster.cli.local_runs import run_job, unfinished
from aidsafe_dagster.recipe.bad_text import ACCEPT_ALL
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.recipe.stages import always_made
from aidsafe_dagster.runs.liveness import report_dead_runs
from aidsafe_dagster.stages.checks import expected_rows
from tests.serving import ModelServer, a_model_server
from tests.site import Site, a_site, environment, prompts_file, some_prompts

FAULTS = {
    "p429": 0.01,
    "p500": 0.01,
    "drop": 0.01,
    "bad_body": 0.005,
    "bad_content": 0.005,
    "empty": 0.005,
    "truncate": 0.005,
}
LENIENT = {
    "min_cot_tokens": 1,
    "max_cot_tokens": 100000,
    "min_refined_share": 0.0,
    "max_refined_ratio": 1000.0,
    **ACCEPT_ALL.model_dump(),
}
COUNT = 40
BATCH = "mine-0001"


def settings_for(server: ModelServer, **endpoint: Any) -> dict[str, Any]:
    return {
        "engine": "endpoint",
        "endpoint": {
            "base_url": server.base_url,
            "model": "fake-model",
            "timeout_s": 20,
            **endpoint,
        },
        "driver": {"calls_in_flight": 16, "backoff_s": 0.05, "max_backoff_s": 0.2},
        "checks": LENIENT,
    }


def stage_rows(site: Site) -> dict[str, Any]:
    """The rows of each stage, without the columns that differ between runs."""
    texts = dict[str, Any]()
    for stage in always_made():
        rows = site.lake.rows(stage, BATCH)
        texts[str(stage)] = rows.drop("usage", "conversation", strict=False).rows()
    return texts


def first_column(rows: list[tuple[Any, ...]]) -> list[Any]:
    return [row[0] for row in rows]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The rows of an undisturbed run."""
    folder = tmp_path_factory.mktemp("clean")
    with (
        a_model_server(folder) as server,
        a_site(folder / "site", **settings_for(server)) as site,
    ):
        site.ingest(prompts_file(site.folder, some_prompts(COUNT)))
        run = site.make(BATCH)
        assert run.success, run.error
        assert site.lake.rows("seed_cots", BATCH).height == COUNT
        assert not site.lake.rows("seed_cots", BATCH)["simulated"].any()
        return stage_rows(site)


def test_under_five_percent_faults_every_row_is_right(
    tmp_path: Path, clean: dict[str, Any]
) -> None:
    faults = FAULTS | {"retry_after_s": 0.1}
    with (
        a_model_server(tmp_path, faults=faults) as server,
        a_site(tmp_path / "site", **settings_for(server)) as site,
    ):
        site.ingest(prompts_file(site.folder, some_prompts(COUNT)))
        run = site.make(BATCH)
        assert run.success, run.error
        faults_made = [
            n for key, n in server.stats().items() if key.startswith("fault_")
        ]
        assert sum(faults_made) > 5
        for stage, rows in stage_rows(site).items():
            assert first_column(rows) == first_column(clean[stage])
            assert site.lake.failures(stage, BATCH).height == 0


def test_calls_that_always_fail_cost_only_their_own_rows_and_each_failure_names_its_call(
    tmp_path: Path,
) -> None:
    faults = {"poison": 0.005, "retry_after_s": 0.05}
    with (
        a_model_server(tmp_path, faults=faults) as server,
        a_site(tmp_path / "site", **settings_for(server)) as site,
    ):
        site.ingest(prompts_file(site.folder, some_prompts(COUNT)))
        site.make(BATCH)
        poisoned_roles = {
            call["rule"]
            for call in server.log()
            # The driver's own question whether the server is up is of no role, and of no row.
            if call["status"] == "500" and call["rule"] != "default"
        }
        failed_roles = set[str]()
        for stage in list(always_made())[1:-1]:
            rows = site.lake.rows(stage, BATCH)
            failures = site.lake.failures(stage, BATCH)
            assert rows.height + failures.height == expected_rows(
                site.lake, stage, BATCH
            )
            assert set(failures["stage"]) <= {stage}
            assert set(failures["reason"]) <= {"engine_error"}
            for detail in failures["detail"]:
                assert "HTTP 500" in detail
                assert ", the last)" in detail
            assert failures["turn"].null_count() == 0
            failed_roles.update(failures["role"])
        assert failed_roles == poisoned_roles


@pytest.mark.slow
def test_after_kill_9_the_same_command_finishes_and_repeats_no_completed_call(
    tmp_path: Path, clean: dict[str, Any]
) -> None:
    folder = tmp_path / "site"
    with a_model_server(tmp_path) as server:
        with a_site(folder, **settings_for(server)) as site:
            site.ingest(prompts_file(site.folder, some_prompts(COUNT)))
        for calls in (60, 120):
            kill_after(calls, folder, server)
            recorded = journaled_calls(folder)
            server.control(reset=True)
        finished = subprocess.run(
            backfill(),
            cwd=folder,
            env=environment(folder),
            capture_output=True,
            check=False,
        )
        assert finished.returncode == 0, finished.stdout
        with a_site(folder, **settings_for(server)) as site:
            assert stage_rows(site) == clean
            prompts = site.lake.rows("prompts", BATCH).select("prompt_id", "prompt")
        texts = dict(prompts.rows())
        missing = Counter[tuple[str, str]]()
        for (role, prompt_id), count in (journaled_calls(folder) - recorded).items():
            missing[role, texts[prompt_id]] += count
        # The key of a judge's call is the whole question, which begins with the prompt.
        calls_made = Counter[tuple[str, str]]()
        for call in server.log():
            calls_made[call["rule"], call["key"].partition("\n</user_prompt>")[0]] += 1
        assert calls_made == missing
        assert recorded.total() > 100


@pytest.mark.slow
def test_a_run_whose_process_was_killed_is_reported_as_failed_by_the_next_command(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "site"
    with a_model_server(tmp_path) as server:
        with a_site(folder, **settings_for(server)) as site:
            site.ingest(prompts_file(site.folder, some_prompts(COUNT)))
        kill_after(20, folder, server)
        with a_site(folder, **settings_for(server)) as site:
            (run,) = site.instance.get_runs(
                dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])
            )
            assert report_dead_runs(site.instance) == [run.run_id]
            after = site.instance.get_run_by_id(run.run_id)
            assert after is not None
            assert after.status is dg.DagsterRunStatus.FAILURE


def test_an_endpoint_that_is_down_costs_counted_failures_and_a_later_run_makes_the_rows(
    tmp_path: Path,
) -> None:
    with a_model_server(tmp_path) as server:
        settings = settings_for(server) | {
            "driver": {"max_attempts": 2, "backoff_s": 0.01, "patience_s": 0.1}
        }
        with a_site(tmp_path / "site", **settings) as site:
            site.ingest(prompts_file(site.folder, some_prompts(6)))
            server.control(outage={"seconds": 600, "kind": "503"})
            run = site.make(BATCH)
            assert not run.success
            assert "failure_share" in run.error
            assert (
                site.lake.failures("seed_cots", BATCH)["reason"].to_list()
                == ["engine_error"] * 6
            )
            server.control(outage={"seconds": 0})
            assert site.make(BATCH).success
            assert site.lake.rows("seed_cots", BATCH).height == 6


def test_the_key_is_in_no_file_of_the_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "sk-marked-5e1f77d0c0ffee"
    monkeypatch.setenv("AIDSAFE_API_KEY", secret)
    with a_model_server(
        tmp_path, faults={"p500": 0.5, "max_faulty_attempts": 99}
    ) as server:
        settings = settings_for(server) | {
            "driver": {"max_attempts": 2, "backoff_s": 0.01}
        }
        with a_site(tmp_path / "site", **settings) as site:
            site.ingest(prompts_file(site.folder, some_prompts(6)))
            site.make(BATCH)
            assert site.lake.failures("seed_cots", BATCH).height > 0
    for file in (tmp_path / "site").rglob("*"):
        assert not file.is_file() or secret.encode() not in file.read_bytes(), file


def journaled_calls(folder: Path) -> Counter[tuple[str, str]]:
    """Completions in the journal, by role and prompt."""
    with closing(sqlite3.connect(folder / "data" / "journal.sqlite")) as connection:
        return Counter(
            connection.execute("SELECT role, prompt_id FROM completions").fetchall()
        )


def backfill() -> list[str]:
    return [sys.executable, "-m", "aidsafe_dagster.cli", "backfill"]


def kill_after(calls: int, folder: Path, server: ModelServer) -> None:
    """Start a backfill, and kill its process once the server has answered this many calls."""
    with subprocess.Popen(
        backfill(), cwd=folder, env=environment(folder), stdout=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 60
        while server.stats()["ok"] < calls and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)


def test_a_batch_that_died_between_stages_finishes_as_if_nothing_had_happened(
    tmp_path: Path,
) -> None:
    faults = {
        "unparsable": 0.03,
        "whisper_fails": 0,
        "missing_policy": 0,
        "agent_talk": 0,
    }
    unfinished_stages = dict[str, Any]()
    fingerprints = dict[str, Any]()
    for name, stages in (
        ("whole", ()),
        ("broken", (Stage.PROMPTS, Stage.SEED_COTS, Stage.DELIBERATED_COTS)),
    ):
        with a_site(tmp_path / name, rehearsal=faults) as site:
            site.ingest(prompts_file(site.folder, some_prompts(40)))
            run_job(site.instance, "make_batch", partition=BATCH, stages=stages)
            todo = unfinished(site.instance, site.lake, site.settings, site.batches)
            for batch, missing in todo.items():
                run = run_job(
                    site.instance, "make_batch", partition=batch, stages=missing
                )
                assert run.success, run.error
            unfinished_stages[name] = todo.get(BATCH)
            fingerprints[name] = {
                stage: site.lake.fingerprint(stage, BATCH) for stage in always_made()
            }
            assert site.lake.failures(Stage.SEED_COTS, BATCH).height > 0
    assert unfinished_stages["whole"] is None
    assert unfinished_stages["broken"] == (
        Stage.SINGLE_LLM_COTS,
        Stage.REFINED_COTS,
        Stage.COT_GRADES,
        Stage.PREFERENCE_PAIRS,
        Stage.FINE_TUNE_SPLITS,
    )
    assert fingerprints["whole"] == fingerprints["broken"]
