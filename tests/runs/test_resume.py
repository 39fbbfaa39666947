"""Against a model server in a process of its own: faults, outages, and death in the middle."""

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
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.runs.liveness import report_dead_runs
from aidsafe_dagster.stages.gates import expected_rows
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
}
COUNT = 40


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


def made_rows(site: Site) -> dict[str, Any]:
    """Per stage, prompt and text: what depends on the server's plan alone."""
    return {
        str(stage): site.lake.rows(stage, "mine-0001")
        .drop("usage", "conversation", strict=False)
        .rows()
        for stage in Stage
    }


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What an undisturbed run makes."""
    folder = tmp_path_factory.mktemp("clean")
    with a_model_server(folder) as server, a_site(folder / "site", **settings_for(server)) as site:
        site.ingest(prompts_file(site.folder, some_prompts(COUNT)))
        run = site.make("mine-0001")
        assert run.success, run.error
        assert site.lake.rows("seed_cots", "mine-0001").height == COUNT
        assert not site.lake.rows("seed_cots", "mine-0001")["simulated"].any()
        return made_rows(site)


def test_under_five_percent_faults_every_row_is_right(
    tmp_path: Path, clean: dict[str, Any]
) -> None:
    faults = FAULTS | {"retry_after_s": 0.1}
    with (
        a_model_server(tmp_path, faults=faults) as server,
        a_site(tmp_path / "site", **settings_for(server)) as site,
    ):
        site.ingest(prompts_file(site.folder, some_prompts(COUNT)))
        run = site.make("mine-0001")
        assert run.success, run.error
        assert sum(n for key, n in server.stats().items() if key.startswith("fault_")) > 5
        ids = {stage: [row[0] for row in rows] for stage, rows in made_rows(site).items()}
        assert ids == {stage: [row[0] for row in rows] for stage, rows in clean.items()}
        assert all(site.lake.failures(stage, "mine-0001").height == 0 for stage in Stage)


def test_calls_that_fail_for_ever_cost_their_own_rows_alone_and_a_row_says_which_call_it_was(
    tmp_path: Path,
) -> None:
    faults = {"poison": 0.005, "retry_after_s": 0.05}
    with (
        a_model_server(tmp_path, faults=faults) as server,
        a_site(tmp_path / "site", **settings_for(server)) as site,
    ):
        site.ingest(prompts_file(site.folder, some_prompts(COUNT)))
        site.make("mine-0001")
        poisoned = {
            (call["rule"], call["turn"]) for call in server.log() if call["status"] == "500"
        }
        failed: list[tuple[str, int]] = []
        for stage in list(Stage)[1:-1]:
            rows, failures = (
                site.lake.rows(stage, "mine-0001"),
                site.lake.failures(stage, "mine-0001"),
            )
            assert rows.height + failures.height == expected_rows(site.lake, stage, "mine-0001")
            assert set(failures["stage"]) <= {stage}
            assert set(failures["reason"]) <= {"engine_error"}
            assert all(
                "HTTP 500" in detail and ", the last)" in detail for detail in failures["detail"]
            )
            failed += failures.select("role", "turn").rows()
        assert {role for role, _ in failed} == {role for role, _ in poisoned}


@pytest.mark.slow
def test_after_kill_9_the_same_command_finishes_and_asks_no_completed_call_again(
    tmp_path: Path, clean: dict[str, Any]
) -> None:
    folder = tmp_path / "site"
    with a_model_server(tmp_path) as server:
        with a_site(folder, **settings_for(server)) as site:
            site.ingest(prompts_file(site.folder, some_prompts(COUNT)))
        for calls in (60, 120):
            killed_after(calls, folder, server)
            recorded = journaled(folder)
            server.control(reset=True)
        finished = subprocess.run(
            backfill(), cwd=folder, env=environment(folder), capture_output=True, check=False
        )
        assert finished.returncode == 0, finished.stdout
        with a_site(folder, **settings_for(server)) as site:
            assert made_rows(site) == clean
            texts = {
                row["prompt_id"]: row["prompt"]
                for row in site.lake.rows("prompts", "mine-0001").to_dicts()
            }
        missing = Counter(
            {(role, texts[p]): n for (role, p), n in (journaled(folder) - recorded).items()}
        )
        # a judge's key is the whole question, which begins with the prompt
        asked = (
            (call["rule"], call["key"].partition("\n</user_prompt>")[0]) for call in server.log()
        )
        assert Counter(asked) == missing
        assert recorded.total() > 100


@pytest.mark.slow
def test_a_run_whose_process_was_killed_is_reported_as_failed_by_the_next_command(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "site"
    with a_model_server(tmp_path) as server:
        with a_site(folder, **settings_for(server)) as site:
            site.ingest(prompts_file(site.folder, some_prompts(COUNT)))
        killed_after(20, folder, server)
        with a_site(folder, **settings_for(server)) as site:
            (run,) = site.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
            assert report_dead_runs(site.instance) == [run.run_id]
            after = site.instance.get_run_by_id(run.run_id)
            assert after is not None
            assert after.status is dg.DagsterRunStatus.FAILURE


def test_an_endpoint_that_is_down_gives_counted_failures_and_a_later_run_makes_the_rows(
    tmp_path: Path,
) -> None:
    with a_model_server(tmp_path) as server:
        settings = settings_for(server) | {
            "driver": {"max_attempts": 2, "backoff_s": 0.01, "patience_s": 0.1}
        }
        with a_site(tmp_path / "site", **settings) as site:
            site.ingest(prompts_file(site.folder, some_prompts(6)))
            server.control(outage={"seconds": 600, "kind": "503"})
            run = site.make("mine-0001")
            assert not run.success
            assert "failure_share" in run.error
            assert (
                site.lake.failures("seed_cots", "mine-0001")["reason"].to_list()
                == ["engine_error"] * 6
            )
            server.control(outage={"seconds": 0})
            assert site.make("mine-0001").success
            assert site.lake.rows("seed_cots", "mine-0001").height == 6


def test_the_key_is_in_no_file_of_the_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "sk-marked-5e1f77d0c0ffee"
    monkeypatch.setenv("AIDSAFE_API_KEY", secret)
    with a_model_server(tmp_path, faults={"p500": 0.5, "max_faulty_attempts": 99}) as server:
        settings = settings_for(server) | {"driver": {"max_attempts": 2, "backoff_s": 0.01}}
        with a_site(tmp_path / "site", **settings) as site:
            site.ingest(prompts_file(site.folder, some_prompts(6)))
            site.make("mine-0001")
            assert site.lake.failures("seed_cots", "mine-0001").height > 0
    found = [
        file
        for file in (tmp_path / "site").rglob("*")
        if file.is_file() and secret.encode() in file.read_bytes()
    ]
    assert found == []


def journaled(folder: Path) -> Counter[tuple[str, str]]:
    """Completions in the journal, by role and prompt."""
    with closing(sqlite3.connect(folder / "data" / "journal.sqlite")) as connection:
        return Counter(connection.execute("SELECT role, prompt_id FROM completions").fetchall())


def backfill() -> list[str]:
    return [sys.executable, "-m", "aidsafe_dagster.cli", "backfill"]


def killed_after(calls: int, folder: Path, server: ModelServer) -> None:
    """Starts a backfill and kills its process once the server has answered so many calls."""
    with subprocess.Popen(
        backfill(), cwd=folder, env=environment(folder), stdout=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 60
        while server.stats()["ok"] < calls and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)


def test_a_batch_that_died_between_stages_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    faults = {"unparsable": 0.03, "whisper_fails": 0, "missing_policy": 0, "agent_talk": 0}
    made = []
    for name, stages in (
        ("whole", ()),
        ("broken", (Stage.PROMPTS, Stage.SEED_COTS, Stage.DELIBERATED_COTS)),
    ):
        with a_site(tmp_path / name, rehearsal=faults) as site:
            site.ingest(prompts_file(site.folder, some_prompts(40)))
            run_job(site.instance, "make_batch", partition="mine-0001", stages=stages)
            todo = unfinished(site.instance, site.lake, site.settings, site.batches)
            for batch, left in todo.items():
                assert run_job(site.instance, "make_batch", partition=batch, stages=left).success
            made.append(
                [todo.get("mine-0001"), {s: site.lake.fingerprint(s, "mine-0001") for s in Stage}]
            )
            assert site.lake.failures(Stage.SEED_COTS, "mine-0001").height > 0
    assert made[0][0] is None
    assert made[1][0] == (
        Stage.SINGLE_LLM_COTS,
        Stage.REFINED_COTS,
        Stage.COT_GRADES,
        Stage.PREFERENCE_PAIRS,
        Stage.FINE_TUNE_SPLITS,
    )
    assert made[0][1] == made[1][1]
