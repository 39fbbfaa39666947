"""The training's process: explained, relayed, ended. A stand-in answers for the training environment here."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from dagster._core.errors import DagsterExecutionInterruptedError

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.training.run import run_script
from aidsafe_dagster.training.settings import TrainingSettings
from tests.site import ROOT
from tests.training.sites import stand_in


def trained(
    folder: Path, model: str, log: Callable[[str], None] = lambda line: None, **changes: Any
) -> dict[str, Any]:
    settings = TrainingSettings(**({"python": stand_in(folder), "model": model} | changes))
    config: dict[str, Any] = {
        "model": model,
        "work": str(folder),
        "steps": {},
        "from_adapter": None,
    }
    return run_script("sft", settings, config, folder, log)


def pids(folder: Path) -> list[int]:
    """Those of a training that never ends, once it is under way, and of its child."""
    until(lambda: (folder / "pids").exists() and len((folder / "pids").read_text().split()) == 2)
    return [int(pid) for pid in (folder / "pids").read_text().split()]


def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_the_result_comes_back_and_every_line_is_progress(tmp_path: Path) -> None:
    lines: list[str] = []
    assert trained(tmp_path, "a-model", lines.append)["train_loss"] == 1.5
    assert lines == ["stand-in for sft.py with a-model"]
    assert (tmp_path / "train.log").read_text().splitlines() == lines


@pytest.mark.parametrize(
    ("model", "cause"),
    [
        (
            "broken-package",
            "trl is not installed there: make an environment with scripts/install-train",
        ),
        ("broken-4bit", "needs bitsandbytes"),
        (
            "broken-memory",
            "out of GPU memory: end a model server that holds it (`aidsafe engine stop`)",
        ),
        ("broken-name", "there is no such model: check training.model"),
        ("broken-gate", "the model is gated"),
        ("broken-hub", "not in the local cache and the Hub is out of reach"),
        ("broken-layers", "training.lora.target_modules names no layer"),
        ("broken-template", "failed: broken-template has no chat template"),
        ("broken-disk", "the disk is full"),
        ("broken-somehow", "it ended with exit code 1"),
        ("killed", "the system killed it, most likely for want of memory"),
        ("silent", "it ended without a result"),
    ],
)
def test_a_failed_training_says_why_and_shows_its_last_lines(
    tmp_path: Path, model: str, cause: str
) -> None:
    with pytest.raises(SetupError) as failed:
        trained(tmp_path, model)
    assert cause in str(failed.value)
    assert f"stand-in for sft.py with {model}" in str(failed.value)


def test_the_result_of_an_earlier_training_is_not_taken_for_this_one_s(tmp_path: Path) -> None:
    trained(tmp_path, "a-model")
    with pytest.raises(SetupError, match="without a result"):
        trained(tmp_path, "silent")


def test_a_token_is_shown_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_marked_secret")
    lines: list[str] = []
    with pytest.raises(SetupError) as failed:
        trained(tmp_path, "broken-gate", lines.append)
    assert "token ***" in str(failed.value)
    assert not any(
        "marked" in text
        for text in (str(failed.value), *lines, (tmp_path / "train.log").read_text())
    )


@pytest.mark.parametrize(
    ("python", "why"),
    [("/nowhere/python", "No such file"), (str(ROOT), "Permission denied")],
    ids=["no such file", "a folder"],
)
def test_an_interpreter_that_cannot_be_started_is_named(
    tmp_path: Path, python: str, why: str
) -> None:
    with pytest.raises(SetupError, match=rf"training\.python: {python}: {why}"):
        trained(tmp_path, "a-model", python=python)


@pytest.mark.parametrize(
    ("visible", "environment", "seen"),
    [(None, {}, "0"), ("2,3", {}, "2"), ("", {}, ""), ("2,3", {"CUDA_VISIBLE_DEVICES": "5"}, "5")],
)
def test_a_training_sees_one_gpu(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    visible: str | None,
    environment: dict[str, str],
    seen: str,
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert trained(tmp_path, "a-model", environment=environment)["visible"] == seen


@pytest.mark.parametrize("how", [KeyboardInterrupt, DagsterExecutionInterruptedError])
def test_a_cancelled_run_ends_its_training_and_what_that_started(
    tmp_path: Path, how: type[BaseException]
) -> None:
    started: list[int] = []

    def cancel(line: str) -> None:
        started.extend(pids(tmp_path))
        raise how

    with pytest.raises(how):
        trained(tmp_path, "slow", cancel)
    assert len(started) == 2
    until(lambda: not any(map(lives, started)))


def test_a_killed_run_takes_its_training_along(tmp_path: Path) -> None:
    program = "import sys; from pathlib import Path; from tests.training.test_run import trained;"
    command = [sys.executable, "-c", f"{program} trained(Path(sys.argv[1]), 'slow')", str(tmp_path)]
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}) as run:
        training, child = pids(tmp_path)
        assert lives(training)
        run.kill()
    until(lambda: not lives(training))
    os.kill(child, signal.SIGKILL)


def test_a_script_whose_parent_is_gone_before_it_begins_ends_at_once(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"model": "slow", "work": str(tmp_path)}))
    script = ROOT / "aidsafe_dagster/training/scripts/sft.py"
    command = [stand_in(tmp_path), str(script), str(config), "1"]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert "the process that started this training is gone" in ended.stderr
    assert not (tmp_path / "pids").exists()
