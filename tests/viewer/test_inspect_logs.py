"""Deliberations as logs of inspect_ai.

That inspect_ai itself reads them is tested where INSPECT_PYTHON names a Python that has it:

    python -m venv /tmp/inspect && /tmp/inspect/bin/pip install inspect-ai
    INSPECT_PYTHON=/tmp/inspect/bin/python pytest tests/viewer/test_inspect_logs.py
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.recipe.records import METRICS
from aidsafe_dagster.viewer.inspect_logs import write_inspect_log
from tests.reports.builders import BATCH
from tests.reports.test_html import HOSTILE
from tests.viewer.lakes import TEXTS, a_full_lake, a_lake_with

INSPECT_PYTHON = os.environ.get("INSPECT_PYTHON", "")
READ = """
import json, sys
from inspect_ai.log import list_eval_logs, read_eval_log
(info,) = list_eval_logs(sys.argv[1])
log = read_eval_log(info)
samples = {}
for sample in log.samples:
    scores = {name: score.value for name, score in (sample.scores or {}).items()}
    texts = [message.text for message in sample.messages]
    error = sample.error.message if sample.error else ""
    samples[sample.id] = {"scores": scores, "texts": texts, "error": error}
means = {score.name: score.metrics["mean"].value for score in log.results.scores}
print(json.dumps({"status": log.status, "samples": samples, "means": means}))
"""


def a_log(folder: Path) -> dict[str, Any]:
    log = write_inspect_log(a_full_lake(folder), BATCH, folder / "logs")
    assert log is not None
    content: dict[str, Any] = json.loads(log.path.read_text("utf-8"))
    return content


def test_a_batch_is_a_log_with_a_sample_for_each_prompt_that_was_begun(
    tmp_path: Path,
) -> None:
    log = a_log(tmp_path)
    samples = {sample["id"]: sample for sample in log["samples"]}
    assert set(samples) == {"aa11", "aa22", "bb33", "cc44"}
    assert log["eval"]["dataset"]["sample_ids"] == list(samples)
    assert {key: sample["input"] for key, sample in samples.items()} == {
        key: TEXTS[key] for key in samples
    }
    assert "error" not in samples["bb33"]
    assert "cannot help with Geheimnis" in samples["cc44"]["error"]["message"]
    scores = samples["aa11"]["scores"]
    assert set(METRICS) | {"policy_score", "pair_margin", "thoughts_kept"} == set(
        scores
    )
    assert scores["relevance"]["value"] == 5
    assert (
        "deliberated, judge: 4. Nothing is missing."
        in scores["relevance"]["explanation"]
    )
    means = {
        score["name"]: score["metrics"]["mean"]["value"]
        for score in log["results"]["scores"]
    }
    assert means["policy_score"] == pytest.approx((5 + 2 + 5) / 3)


def test_messages_tell_who_said_what_and_what_the_refiner_dropped(
    tmp_path: Path,
) -> None:
    (sample,) = [row for row in a_log(tmp_path)["samples"] if row["id"] == "aa11"]
    user, seed, first, second, final = sample["messages"]
    assert user["content"] == TEXTS["aa11"]
    assert seed["content"].startswith("Seed · initializer\n\n[1] ")
    assert first["content"].startswith("Round 1 · deliberator_1 · revises")
    assert "refiner: redundant: Follows from the first." in first["content"]
    assert second["content"].endswith("Nothing to add.")
    reasoning, text = final["content"]
    assert (reasoning["type"], text["type"]) == ("reasoning", "text")


def test_the_same_batch_replaces_its_log_and_gives_the_same_bytes(
    tmp_path: Path,
) -> None:
    lake = a_full_lake(tmp_path)
    first = write_inspect_log(lake, BATCH, tmp_path / "logs")
    assert first is not None
    content = first.path.read_bytes()
    assert write_inspect_log(lake, BATCH, tmp_path / "logs") == first
    assert first.path.read_bytes() == content
    rows = Path(str(lake.rows_path("refined_cots", BATCH)))
    os.utime(rows, (2_000_000_000, 2_000_000_000))
    second = write_inspect_log(lake, BATCH, tmp_path / "logs")
    assert second is not None
    assert list((tmp_path / "logs").iterdir()) == [second.path]


def test_a_split_has_the_prompts_with_a_row_in_it(tmp_path: Path) -> None:
    lake = a_full_lake(tmp_path)
    train = write_inspect_log(lake, BATCH, tmp_path / "logs", split="train")
    assert train is not None
    assert (train.samples, train.failed) == (3, 0)
    assert write_inspect_log(lake, BATCH, tmp_path / "logs", split="test") is None


def test_secrets_in_failures_are_masked(tmp_path: Path) -> None:
    lake = a_full_lake(tmp_path)
    log = write_inspect_log(
        lake, BATCH, tmp_path, mask=lambda text: text.replace("Geheimnis", "***")
    )
    assert log is not None
    assert "Geheimnis" not in log.path.read_text("utf-8")


@pytest.mark.skipif(not INSPECT_PYTHON, reason="INSPECT_PYTHON names no Python")
def test_inspect_ai_itself_reads_the_log(tmp_path: Path) -> None:
    lake = a_full_lake(tmp_path)
    write_inspect_log(lake, BATCH, tmp_path / "logs")
    write_inspect_log(
        a_lake_with(tmp_path / "hostile", HOSTILE), BATCH, tmp_path / "hostile-logs"
    )
    for folder in ("logs", "hostile-logs"):
        outcome = subprocess.run(
            [INSPECT_PYTHON, "-c", READ, str(tmp_path / folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert outcome.returncode == 0, outcome.stderr
        log = json.loads(outcome.stdout)
        assert log["status"] == "success"
    assert log["samples"]["ee66"]["texts"][0] == HOSTILE
    assert log["means"]["policy_score"] == 5
