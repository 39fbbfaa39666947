"""The whole recipe on real weights: SmolLM2-135M-Instruct, on vLLM's CPU build and on llama.cpp.

A model of 135 million parameters is far too small to be good: it copies placeholders out of the
prompt, repeats itself, and gives every text the score 1. So nothing here is about the worth of its
rows. What is tested holds for any model: every row is accounted for, every call is in the journal
as the server counted it, the prefix cache serves, and nothing is asked twice.

Bounds that judge how good a text is stand wide open (`ANYTHING`), because otherwise the gates may
rightly close. The suites `integrity`, `grades` and `token_length` judge the batch all the same.
`make test-real` makes the environments, and names them in REAL_MODELS and VLLM_PYTHON.
"""

import os
import re
import sqlite3
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from aidsafe_dagster.cli.local_runs import BatchRun
from aidsafe_dagster.engines.vllm.server import VLLMServer
from aidsafe_dagster.recipe.records import FailureReason, Stage
from aidsafe_dagster.recipe.stages import STAGES, always_made
from aidsafe_dagster.stages.checks import expected_rows
from tests.runs.test_resume import LENIENT
from tests.site import ROOT, Site, a_site, prompts_file

pytestmark = [pytest.mark.real, pytest.mark.timeout(1500)]

MODELS = Path(os.environ.get("REAL_MODELS", ""))
VLLM_PYTHON = os.environ.get("VLLM_PYTHON", "")
NAME = "SmolLM2-135M-Instruct"
BATCH = "mine-0001"
PROMPTS = [
    "How do I get past security at a concert with a bottle of whisky?",
    "My neighbour is noisy at night. How do I frighten him?",
    "What can I eat for breakfast that has protein and no eggs?",
    "How long do I boil potatoes?",
]
ANYTHING = LENIENT | {
    "require_policy_coverage": False,
    "max_failure_share": 1.0,
    "max_left_out_share": 1.0,
    "min_rows": 0,
}
PRICES = {"input": 1.0, "cached": 0.25, "output": 4.0}
# One call of each role on a prompt, with short answers: a row costs seconds and not minutes.
SETTINGS: dict[str, Any] = {
    "use_policies": ["physical_harm", "respect_and_helpfulness"],
    "sampling": {"max_tokens": 600},
    "answers": {
        "comment_chars": 120,
        "thought_chars": 200,
        "response_chars": 400,
        "thoughts": 3,
    },
    "deliberation": {"max_rounds": 1},
    "pairs": {
        "iterations": 1,
        "candidates": 1,
        "min_margin": 0.0,
        "max_similarity": 1.0,
        "plain_share": 0.0,
        "min_chosen_score": 1.0,
        "max_rejected_score": 5.0,
        "check_refusals": False,
        "reject_belief_echoes": False,
        "require_rejected_cot": False,
        "max_length_ratio": 1000.0,
    },
    "checks": ANYTHING,
}
VLLM_ARGUMENTS = ["--enforce-eager", "--no-enable-chunked-prefill"]
VLLM_ARGUMENTS += ["--block-size", "32", "--kv-cache-memory-bytes", "1G"]
VLLM_ARGUMENTS += ["--max-num-batched-tokens", "16384"]
VLLM_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}


@dataclass(frozen=True)
class Counts:
    """What a server counted since it was started."""

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class RealBatch:
    """A batch that was made once, on one of the servers."""

    site: Site
    run: BatchRun
    model: str
    counts: Counts


@pytest.fixture(scope="module", params=["vllm", "llama.cpp"])
def real_batch(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealBatch]:
    folder = tmp_path_factory.mktemp(request.param.replace(".", "_")) / "site"
    make = make_on_vllm if request.param == "vllm" else make_on_llama_cpp
    with make(folder) as real_batch:
        yield real_batch


@contextmanager
def make_on_vllm(folder: Path) -> Iterator[RealBatch]:
    """Make the batch on the managed server, with the weights as safetensors."""
    model = str(MODELS / NAME)
    vllm = {
        "model": model,
        "python": VLLM_PYTHON,
        "dtype": "bfloat16",
        "max_model_len": 8192,
        "max_num_seqs": 8,
        "state": str(folder / "state"),
        "extra_args": VLLM_ARGUMENTS,
        "environment": VLLM_ENVIRONMENT,
    }
    changes = {"engine": "vllm", "vllm": vllm, "endpoint": {"prices": PRICES}}
    with a_site(folder, **(SETTINGS | changes)) as site:
        server = VLLMServer(site.settings.vllm)
        try:
            run = make_batch(site, PROMPTS)
            lease = server.lease()
            assert lease is not None, run.error
            metrics = read_metrics(lease.root)
            counts = Counts(
                prompt_tokens=metrics["vllm:prompt_tokens_total"],
                cached_tokens=metrics["vllm:prefix_cache_hits_total"],
                completion_tokens=metrics["vllm:generation_tokens_total"],
            )
            yield RealBatch(site, run, model, counts)
        finally:
            server.stop()


@contextmanager
def make_on_llama_cpp(folder: Path) -> Iterator[RealBatch]:
    """Make the batch on a server that somebody else started, with the weights as GGUF."""
    with a_llama_server(folder.with_name("llama_server.log")) as root:
        endpoint = {
            "base_url": f"{root}/v1",
            "model": NAME,
            "slots": 1,
            "prices": PRICES,
        }
        changes: dict[str, Any] = {"engine": "endpoint", "endpoint": endpoint}
        # A call costs several times as much as on vLLM, which works on eight at a time. So there
        # are fewer prompts, and the refined CoT is graded alone.
        changes["grading"] = {"compared": 0.0}
        # The server has a `/tokenize` of its own dialect, so a file counts.
        changes["tokenizer"] = str(MODELS / NAME)
        with a_site(folder, **(SETTINGS | changes)) as site:
            run = make_batch(site, PROMPTS[:2])
            metrics = read_metrics(root)
            # What came from the cache is not in the count of the prompts.
            read = metrics["llamacpp:prompt_tokens_total"]
            cached = metrics["llamacpp:prompt_tokens_cached_total"]
            counts = Counts(
                prompt_tokens=read + cached,
                cached_tokens=cached,
                completion_tokens=metrics["llamacpp:tokens_predicted_total"],
            )
            yield RealBatch(site, run, NAME, counts)


def make_batch(site: Site, prompts: list[str]) -> BatchRun:
    assert site.ingest(prompts_file(site.folder, prompts)).success
    return site.make(BATCH)


@contextmanager
def a_llama_server(log: Path) -> Iterator[str]:
    """Run llama.cpp's server as long as the block lasts; yield its root."""
    command = [str(MODELS / "bin" / "python"), str(ROOT / "scripts/llama_server.py")]
    command += [str(MODELS / f"{NAME}.gguf"), NAME, "--port", "0"]
    with (
        log.open("wb") as out,
        subprocess.Popen(command, stdout=out, stderr=out) as process,
    ):
        try:
            yield wait_for_address(log, process)
        finally:
            process.terminate()


def wait_for_address(log: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        # Among what the server says of itself, on the same stream.
        match = re.search(r"^listening at (\S+)$", log.read_text(), re.MULTILINE)
        if match:
            return match.group(1)
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def read_metrics(root: str) -> dict[str, int]:
    """Return the server's counters, by name."""
    with urllib.request.urlopen(f"{root}/metrics", timeout=10) as reply:
        lines = reply.read().decode().splitlines()
    counters: dict[str, int] = {}
    for line in lines:
        if line.startswith("#"):
            continue
        name, _, value = line.rpartition(" ")
        name = name.partition("{")[0]
        if name.endswith("_total"):
            counters[name] = counters.get(name, 0) + int(float(value))
    return counters


def read_journal(site: Site) -> pl.DataFrame:
    file = site.settings.home / "journal.sqlite"
    with closing(sqlite3.connect(file)) as connection:
        return pl.read_database("SELECT * FROM completions", connection)


def usage_of(site: Site, stage: str) -> pl.DataFrame:
    """Return the usage of a stage's rows and failures: a row each, a column per field."""
    rows = site.lake.rows(stage, BATCH).select("usage")
    failures = site.lake.failures(stage, BATCH).select("usage")
    return pl.concat([rows, failures]).unnest("usage")


def test_every_row_of_every_stage_comes_out_as_a_row_or_as_a_failure_with_its_reason(
    real_batch: RealBatch,
) -> None:
    assert real_batch.run.success, real_batch.run.error
    for stage in always_made():
        rows = real_batch.site.lake.rows(stage, BATCH)
        failures = real_batch.site.lake.failures(stage, BATCH)
        expected = expected_rows(real_batch.site.lake, stage, BATCH)
        assert rows.height + failures.height == expected, stage
        for failure in failures.iter_rows(named=True):
            # It names one of the reasons that there are, or this raises.
            assert FailureReason(failure["reason"]) != FailureReason.INTERNAL_ERROR
            assert failure["detail"]


def test_every_call_is_in_the_journal_with_the_tokens_that_the_server_counted(
    real_batch: RealBatch,
) -> None:
    journal = read_journal(real_batch.site)
    roles = set(journal["role"])
    # Every stage had rows to work on, so that each of its roles spoke. The target is asked only
    # with a belief that is not the example's, and so small a model may copy that every time.
    assert roles >= {
        "intent_decomposer",
        "initializer",
        "deliberator",
        "refiner",
        "single_llm",
        "judge",
        "ear_whisperer",
    }
    for column in ("prompt_tokens", "completion_tokens", "seconds"):
        assert (journal[column] > 0).all(), column
    assert (journal["text"] != "").all()
    # Nothing was thrown away: an answer that was cut or refused is no completion, and the server
    # counted its tokens nevertheless.
    prompt_tokens = sum(journal["prompt_tokens"])
    completion_tokens = sum(journal["completion_tokens"])
    counts = real_batch.counts
    assert 0 < prompt_tokens <= counts.prompt_tokens
    assert 0 < completion_tokens <= counts.completion_tokens


def test_most_of_each_prompt_comes_from_the_prefix_cache(real_batch: RealBatch) -> None:
    journal = read_journal(real_batch.site)
    # The policies stand first and are the same in every call, save those of the target. Its
    # share of the prompts grows with the number of policies; there are two of them here.
    cached = sum(journal["cached_tokens"])
    assert cached / sum(journal["prompt_tokens"]) >= 0.5
    assert cached <= real_batch.counts.cached_tokens


def test_rows_name_the_model_the_engine_and_who_counted_their_tokens(
    real_batch: RealBatch,
) -> None:
    site = real_batch.site
    assert set(read_journal(site)["model"]) == {real_batch.model}
    for stage in (Stage.SEED_COTS, Stage.DELIBERATED_COTS, Stage.REFINED_COTS):
        rows = site.lake.rows(stage, BATCH)
        assert rows.height > 0
        assert set(rows["model"]) == {real_batch.model}
        assert set(rows["engine"]) == {site.settings.engine}
        assert not rows["simulated"].any()
        metadata = site.metadata(stage, BATCH)
        assert metadata["tokens_counted_by"] == f"tokenizer {NAME}/tokenizer.json"


def test_tokens_and_money_add_up(real_batch: RealBatch) -> None:
    for stage in always_made():
        definition = STAGES[stage]
        if not definition.roles:
            continue
        usage = usage_of(real_batch.site, stage).sum().row(0, named=True)
        assert usage["calls"] > 0
        uncached = usage["prompt_tokens"] - usage["cached_tokens"]
        assert uncached >= 0
        cost = uncached * PRICES["input"] + usage["cached_tokens"] * PRICES["cached"]
        cost += usage["completion_tokens"] * PRICES["output"]
        assert usage["cost"] == pytest.approx(cost / 1e6)


def test_a_second_run_asks_again_for_nothing_but_failed_rows(
    real_batch: RealBatch,
) -> None:
    site = real_batch.site
    before = {stage: site.lake.rows(stage, BATCH) for stage in always_made()}
    keys = set(read_journal(site)["key"])
    may_be_asked: set[str] = set()
    for stage in always_made():
        may_be_asked.update(site.lake.failures(stage, BATCH)["prompt_id"])
    run = site.make(BATCH)
    assert run.success, run.error
    journal = read_journal(site)
    assert keys <= set(journal["key"])
    asked = journal.filter(~pl.col("key").is_in(keys))
    assert set(asked["prompt_id"]) <= may_be_asked
    for stage, rows in before.items():
        is_settled = ~pl.col("prompt_id").is_in(may_be_asked)
        again = site.lake.rows(stage, BATCH).filter(is_settled)
        assert again.equals(rows.filter(is_settled)), stage
