"""The whole circle on real weights: rows, adapters, and an evaluation that measures a difference.

The rows come from the rehearsal engine, so what the adapters learn is of no worth. That they learn
it, and that it shows on rows that they were not trained on, is what is tested, through vLLM as it
serves the model and both adapters. `make test-real` makes the environments, and names them in
REAL_MODELS, TRAIN_PYTHON and VLLM_PYTHON.
"""

import os
import subprocess
from pathlib import Path

import polars as pl
import pytest

from tests.site import ROOT

pytestmark = [pytest.mark.real, pytest.mark.timeout(2400)]

VENV = ROOT / ".venv"
MODELS = os.environ.get("REAL_MODELS", "")
TRAIN_PYTHON = os.environ.get("TRAIN_PYTHON", "")
VLLM_PYTHON = os.environ.get("VLLM_PYTHON", "")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a circle that was run once, as `make circle-real` runs it."""
    folder = tmp_path_factory.mktemp("circle") / "home"
    script = str(ROOT / "scripts/circle-real")
    command = [script, str(VENV), MODELS, TRAIN_PYTHON, VLLM_PYTHON, str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-4000:]
    print(run.stdout)
    return folder


@pytest.fixture(scope="module")
def scores(home: Path) -> pl.DataFrame:
    """A row per model and held-out row, with what the servers gave its answers."""
    frame = pl.read_parquet(home / "data/reports/held_out.parquet")
    assert (frame["problem"] == "").all()
    return frame


def losses(scores: pl.DataFrame, candidate: str) -> pl.Series:
    """Nats per token of each held-out SFT row, in one order of rows."""
    rows = scores.filter(kind="sft", candidate=candidate).sort("prompt_id")
    answer = pl.col("answer").struct
    loss = -answer.field("log_probability") / answer.field("tokens")
    return rows.select(loss=loss)["loss"]


def margins(scores: pl.DataFrame, candidate: str) -> pl.Series:
    """By how many nats the chosen side of each held-out pair is more probable."""
    rows = scores.filter(kind="dpo", candidate=candidate).sort("prompt_id")
    chosen = pl.col("answer").struct.field("log_probability")
    rejected = pl.col("rejected").struct.field("log_probability")
    return rows.select(margin=chosen - rejected)["margin"]


def test_sft_makes_every_held_out_answer_more_probable(scores: pl.DataFrame) -> None:
    gains = losses(scores, "base") - losses(scores, "sft")
    assert len(gains) >= 6
    assert (gains > 0.3).all()
    # Half of what there is to learn from so few rows, and far beyond what an adapter that learned
    # nothing differs by: nothing at all.
    assert gains.mean() > 0.8  # type: ignore[operator]


def test_dpo_moves_the_sides_of_held_out_pairs_apart(scores: pl.DataFrame) -> None:
    gains = margins(scores, "dpo") - margins(scores, "sft")
    assert len(gains) >= 6
    # Without training there is no gain, and a coin gives half of them.
    assert (gains > 0).mean() >= 0.8  # type: ignore[operator]
    assert gains.median() > 2  # type: ignore[operator]


def test_sft_teaches_to_begin_with_reasoning(home: Path) -> None:
    answers = pl.read_parquet(home / "data/reports/safety_eval.parquet")
    begins = pl.col("said").str.starts_with("<think>")
    shares = dict(answers.group_by("candidate").agg(begins.mean()).iter_rows())
    # Whether such a small model comes to the end of its reasoning is another matter.
    assert shares["base"] == 0
    assert shares["sft"] >= 0.5


def test_what_is_measured_is_in_the_report_and_labelled_as_simulated(
    home: Path,
) -> None:
    report = (home / "data/reports/safety_eval.md").read_text()
    assert "Trained on simulated rows of the rehearsal engine" in report
    assert "Loss on the test split" in report
    assert "Pairs of the test split" in report
    assert "Answers in the trained form" in report


def test_base_and_adapters_answer_the_prompts_of_the_test_split(home: Path) -> None:
    answers = pl.read_parquet(home / "data/reports/safety_eval.parquet")
    said = answers.filter(pl.col("said") != "")
    by_candidate = dict(said.group_by("candidate").len().iter_rows())
    asked = answers.height // 3
    assert by_candidate == {"base": asked, "sft": asked, "dpo": asked}
    adapters = {"sft", "dpo"}
    assert adapters <= set(said["model"])
