"""The training process: its output, failures and end. A stand-in replaces the environment."""

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


def run_training(
    folder: Path,
    model: str,
    log: Callable[[str], None] = lambda line: None,
    **changes: Any,
) -> dict[str, Any]:
    values = {"python": stand_in(folder), "model": model} | changes
    config: dict[str, Any] = {
        "model": model,
        "work": str(folder),
        "steps": {},
        "from_adapter": None,
    }
    return run_script("sft", TrainingSettings(**values), config, folder, log)


def pids(folder: Path) -> list[int]:
    """Wait for a training that never ends; return its pid and that of its child."""
    wait_until(
        lambda: (
            (folder / "pids").exists()
            and len((folder / "pids").read_text().split()) == 2
        )
    )
    return [int(pid) for pid in (folder / "pids").read_text().split()]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_the_result_is_returned_and_every_line_is_logged(tmp_path: Path) -> None:
    lines: list[str] = []
    assert run_training(tmp_path, "a-model", lines.append)["train_loss"] == 1.5
    assert lines == ["stand-in for sft.py with a-model"]
    assert (tmp_path / "train.log").read_text().splitlines() == lines


@pytest.mark.parametrize(
    ("model", "cause"),
    [
        (
            "broken-package",
            "trl is not installed in the training environment: "
            "create one with scripts/install-train",
        ),
        ("broken-4bit", "needs bitsandbytes"),
        (
            "broken-memory",
            "out of GPU memory: stop a model server that uses it (`aidsafe engine stop`)",
        ),
        ("broken-name", "there is no such model: check training.model"),
        ("broken-gate", "the model is gated"),
        ("broken-hub", "not in the local cache and the Hub is unreachable"),
        ("broken-layers", "training.lora.target_modules names no layer"),
        ("broken-template", "failed: broken-template has no chat template"),
        ("broken-disk", "the disk is full"),
        ("broken-somehow", "it ended with exit code 1"),
        ("killed", "the system killed it, most likely because memory ran out"),
        ("silent", "it ended without a result"),
    ],
)
def test_the_error_of_a_failed_training_has_cause_and_last_lines(
    tmp_path: Path, model: str, cause: str
) -> None:
    with pytest.raises(SetupError) as error:
        run_training(tmp_path, model)
    assert cause in str(error.value)
    assert f"stand-in for sft.py with {model}" in str(error.value)


def test_the_result_of_an_earlier_training_is_not_reused(tmp_path: Path) -> None:
    run_training(tmp_path, "a-model")
    with pytest.raises(SetupError, match="without a result"):
        run_training(tmp_path, "silent")


def test_a_token_is_masked_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_marked_secret")
    lines: list[str] = []
    with pytest.raises(SetupError) as error:
        run_training(tmp_path, "broken-gate", lines.append)
    assert "token ***" in str(error.value)
    log = (tmp_path / "train.log").read_text()
    for text in (str(error.value), *lines, log):
        assert "marked" not in text


@pytest.mark.parametrize(
    ("python", "why"),
    [("/nowhere/python", "No such file"), (str(ROOT), "Permission denied")],
    ids=["no such file", "a folder"],
)
def test_the_error_of_a_bad_interpreter_names_it(
    tmp_path: Path, python: str, why: str
) -> None:
    with pytest.raises(SetupError, match=rf"training\.python: {python}: {why}"):
        run_training(tmp_path, "a-model", python=python)


@pytest.mark.parametrize(
    ("visible", "environment", "expected"),
    [
        (None, {}, "0"),
        ("2,3", {}, "2"),
        ("", {}, ""),
        ("2,3", {"CUDA_VISIBLE_DEVICES": "5"}, "5"),
    ],
)
def test_a_training_sees_one_gpu(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    visible: str | None,
    environment: dict[str, str],
    expected: str,
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert (
        run_training(tmp_path, "a-model", environment=environment)["visible"]
        == expected
    )


@pytest.mark.parametrize(
    "interruption", [KeyboardInterrupt, DagsterExecutionInterruptedError]
)
def test_a_cancelled_run_kills_its_training_and_the_children_of_that(
    tmp_path: Path, interruption: type[BaseException]
) -> None:
    started: list[int] = []

    def cancel(line: str) -> None:
        started.extend(pids(tmp_path))
        raise interruption

    with pytest.raises(interruption):
        run_training(tmp_path, "slow", cancel)
    assert len(started) == 2
    wait_until(lambda: not any(map(is_alive, started)))


def test_a_training_dies_with_a_killed_run(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path;"
        " from tests.training.test_run import run_training;"
    )
    command = [
        sys.executable,
        "-c",
        f"{program} run_training(Path(sys.argv[1]), 'slow')",
        str(tmp_path),
    ]
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}) as run:
        training, child = pids(tmp_path)
        assert is_alive(training)
        run.kill()
    wait_until(lambda: not is_alive(training))
    os.kill(child, signal.SIGKILL)


def test_a_script_exits_at_once_if_its_parent_is_gone(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"model": "slow", "work": str(tmp_path)}))
    script = ROOT / "aidsafe_dagster/training/scripts/sft.py"
    command = [stand_in(tmp_path), str(script), str(config), "1"]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    assert "the process that started this training is gone" in result.stderr
    assert not (tmp_path / "pids").exists()
