"""The vllm engine on real vLLM: its CPU build, with a tiny model of random weights.

The answers of a random model have the right structure, because the schema guides their decoding,
and random content. So the whole pipeline can run, and checks on content fail where they should.
`make test-vllm` runs these tests. It creates the environment, and names its interpreter in
VLLM_PYTHON.
"""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.engines.vllm.lease import Lease, leftovers
from aidsafe_dagster.engines.vllm.server import VLLMServer
from aidsafe_dagster.recipe.records import Stage
from tests.runs.test_resume import LENIENT
from tests.site import ROOT, Site, a_site, environment, prompts_file, some_prompts

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]
VLLM_PYTHON = os.environ.get("VLLM_PYTHON", "")
ARGUMENTS = ["--enforce-eager", "--no-enable-chunked-prefill"]
ARGUMENTS += ["--block-size", "32", "--kv-cache-memory-bytes", "1G"]
ARGUMENTS += ["--max-num-batched-tokens", "65536"]
QUIET = {
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}
SHORT = {"comment_chars": 24, "thought_chars": 48, "response_chars": 64, "thoughts": 3}
ANYTHING = LENIENT | {
    "require_policy_coverage": False,
    "max_failure_share": 0.5,
    "max_left_out_share": 1.0,
    "min_rows": 0,
}
ANY_PAIR = {"min_margin": 0.0, "max_similarity": 1.0, "plain_share": 0.0}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the model."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    script = str(ROOT / "tests/make_tiny_model.py")
    options = ["--arch", "qwen3", "--positions", "32768"]
    command = [VLLM_PYTHON, script, str(folder), *options]
    subprocess.run(command, check=True, env=os.environ | QUIET)
    return folder


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder through which these tests share one server."""
    return tmp_path_factory.mktemp("state")


@contextmanager
def a_vllm_site(
    folder: Path, tiny: Path, state: Path, **settings: Any
) -> Iterator[Site]:
    vllm = {
        "model": str(tiny),
        "python": VLLM_PYTHON,
        "dtype": "float32",
        "max_model_len": 16384,
        "max_num_seqs": 32,
        "state": str(state),
        "extra_args": ARGUMENTS,
        "environment": QUIET,
    }
    sampling = {"max_tokens": 1500, "temperature": 1.0}
    values: dict[str, Any] = {
        "engine": "vllm",
        "vllm": vllm,
        "answers": SHORT,
        "sampling": sampling,
        "checks": ANYTHING,
        "pairs": ANY_PAIR,
    }
    with a_site(folder, **(values | settings)) as site:
        yield site


def ingest_batch(site: Site, count: int) -> str:
    assert site.ingest(prompts_file(site.folder, some_prompts(count))).success
    return "mine-0001"


def lease_of(site: Site) -> Lease:
    lease = VLLMServer(site.settings.vllm).lease()
    assert lease is not None
    return lease


def test_a_batch_goes_through_every_stage_and_most_of_each_prompt_comes_from_the_cache(
    tmp_path: Path, tiny: Path, state: Path
) -> None:
    with a_vllm_site(tmp_path, tiny, state) as site:
        batch = ingest_batch(site, 12)
        run = site.make(batch)
        assert run.success, run.error
        for stage in list(Stage)[1:5]:
            rows = site.lake.rows(stage, batch)
            failures = site.lake.failures(stage, batch)
            assert rows.height >= 10, failures
            assert set(rows["engine"]) == {"vllm"}
            assert set(rows["model"]) == {str(tiny)}
            assert not rows["simulated"].any()
        metadata = site.metadata("deliberated_cots", batch)
        assert metadata["tokens_in_cached_share"] >= 0.85
        assert metadata["tokens_in"] > 50_000
        counters = metrics(lease_of(site))
        hits = counters["vllm:prefix_cache_hits_total"]
        assert hits / counters["vllm:prefix_cache_queries_total"] >= 0.85
        assert "gpu_seconds" not in metadata
        assert metadata["tokens_counted_by"] == "tokenizer tiny/tokenizer.json"


def test_two_runs_at_once_share_the_running_server(
    tmp_path: Path, tiny: Path, state: Path
) -> None:
    with a_vllm_site(tmp_path, tiny, state, ingest={"batch_size": 4}) as site:
        ingest_batch(site, 8)
    command = [sys.executable, "-m", "aidsafe_dagster.cli", "backfill"]
    runs = [
        subprocess.Popen(
            [*command, batch],
            cwd=tmp_path,
            env=environment(tmp_path),
            stdout=subprocess.DEVNULL,
        )
        for batch in ("mine-0001", "mine-0002")
    ]
    assert [run.wait(timeout=300) for run in runs] == [0, 0]
    with a_vllm_site(tmp_path, tiny, state) as site:
        commands = [
            " ".join(process.cmdline()) for process in leftovers(lease_of(site))
        ]
        assert len([command for command in commands if "api_server" in command]) == 1


def test_random_content_fails_the_checks_on_content_and_the_error_says_why(
    tmp_path: Path, tiny: Path, state: Path
) -> None:
    with a_vllm_site(tmp_path, tiny, state, checks={"min_cot_tokens": 2000}) as site:
        batch = ingest_batch(site, 3)
        run = site.make(batch)
        assert not run.success
        assert "failure_share: expected at most 0.2, saw 1" in run.error
        assert set(site.lake.failures("seed_cots", batch)["reason"]) == {
            "cot_too_short"
        }


def test_a_server_killed_in_the_middle_of_a_batch_is_started_again_and_no_row_is_lost(
    tmp_path: Path, tiny: Path, state: Path
) -> None:
    with a_vllm_site(tmp_path, tiny, state) as site:
        batch = ingest_batch(site, 24)
        before = lease_of(site)
    command = [sys.executable, "-m", "aidsafe_dagster.cli", "backfill"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.PIPE
    ) as process:
        calls_before = metrics(before).get("vllm:request_success_total", 0.0)
        deadline = time.monotonic() + 120
        while (
            metrics(before).get("vllm:request_success_total", 0.0) < calls_before + 30
        ):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        os.kill(before.server, signal.SIGKILL)
        printed = process.communicate(timeout=300)[0].decode()
    assert process.returncode == 0, printed
    with a_vllm_site(tmp_path, tiny, state) as site:
        assert lease_of(site).mark != before.mark
        rows = site.lake.rows("seed_cots", batch)
        assert rows.height + site.lake.failures("seed_cots", batch).height == 24
        assert rows["prompt_id"].n_unique() == rows.height
        assert set(site.lake.failures("seed_cots", batch)["reason"]) <= {
            "unparsable",
            "null_text",
        }


def test_a_missing_model_is_explained(tmp_path: Path, tiny: Path) -> None:
    wrong = {
        "model": str(tiny / "nowhere"),
        "python": VLLM_PYTHON,
        "state": str(tmp_path / "own"),
    }
    with a_site(tmp_path, engine="vllm", vllm=wrong) as site:
        batch = ingest_batch(site, 1)
        run = site.make(batch)
        assert not run.success
        assert "there is no such model" in run.error
        assert leftovers(lease_of(site)) == []


def test_stopping_the_server_leaves_no_process_behind(
    tmp_path: Path, tiny: Path, state: Path
) -> None:
    with a_vllm_site(tmp_path, tiny, state) as site:
        lease = lease_of(site)
        # The server, its engine and its worker.
        assert len(leftovers(lease)) >= 3
        assert VLLMServer(site.settings.vllm).stop()
        assert leftovers(lease) == []


def metrics(lease: Lease) -> dict[str, float]:
    """The server's counters, by name."""
    with urllib.request.urlopen(f"{lease.root}/metrics", timeout=10) as reply:
        lines = reply.read().decode().splitlines()
    counters: dict[str, float] = {}
    for line in lines:
        if line.startswith("vllm:"):
            name = line.split("{")[0].split()[0]
            value = float(line.rsplit(" ", 1)[1])
            counters[name] = counters.get(name, 0.0) + value
    return counters
