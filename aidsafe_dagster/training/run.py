"""Runs a training script in its own environment, as a process that neither outlives nor escapes the one that runs it.

    CONFIG.json   → what to train (written here)            adapter/, result.json  ← the adapter and what became of it
    train.log     ← everything it printed, without secrets  metrics.jsonl          ← the curves, a line per log step

The environment is apart because TRL's needs and Dagster's change at different times, and because an orchestrator has no
use for torch. The script asks the kernel to end it with its parent (`scripts/lifeline.py`); a run that is cancelled
ends it here.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.secret_mask import mask_environment
from aidsafe_dagster.training.causes import explain
from aidsafe_dagster.training.settings import Method, TrainingSettings

_SCRIPTS = Path(__file__).parent / "scripts"
_TAIL = 20


def run_script(
    method: Method,
    settings: TrainingSettings,
    config: Mapping[str, Any],
    work: Path,
    log: Callable[[str], None],
) -> dict[str, Any]:
    """Trains as `config` says, in the folder `work`; what the script prints goes to `log` line by line.

    Returns:
        What the script wrote to `result.json`: losses, steps, rows, device, versions of its libraries.

    Raises:
        SetupError: the interpreter cannot be started, or the training failed; the message has the cause and the end of
            the log.
    """
    (work / "config.json").write_text(json.dumps(config, indent=1), "utf-8")
    (work / "result.json").unlink(missing_ok=True)
    code = _run(method, settings, work, log)
    try:
        if code == 0:
            return dict(json.loads((work / "result.json").read_text("utf-8")))
    except OSError:
        pass  # it ended well and left no result: told as a failure below
    raise _failed(method, code, work / "train.log")


def _run(method: Method, settings: TrainingSettings, work: Path, log: Callable[[str], None]) -> int:
    python = settings.python or sys.executable
    # -E: this process's PYTHONPATH is not the other environment's; -W: notices to the authors of libraries
    command = [
        python,
        "-E",
        "-u",
        "-W",
        "ignore",
        str(_SCRIPTS / f"{method}.py"),
        str(work / "config.json"),
    ]
    try:
        process = subprocess.Popen(  # noqa: S603 - the interpreter is the user's, the script ours
            [*command, str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            env=_environment(settings, work),
            start_new_session=True,
        )
    except OSError as error:
        raise SetupError(f"training.python: {python}: {error.strerror}") from error
    with process, (work / "train.log").open("w", encoding="utf-8") as file:
        try:
            _relay(process, file.write, log)
            return process.wait()
        except BaseException:  # cancelled: leaving the block would wait for the training to end
            _end(process)
            raise


def _relay(
    process: subprocess.Popen[str], write: Callable[[str], Any], log: Callable[[str], None]
) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        shown = mask_environment(line.rstrip())
        write(f"{shown}\n")
        if shown:
            log(shown)


def _end(process: subprocess.Popen[str]) -> None:
    """Kills the process and all it started, which share a process group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _environment(settings: TrainingSettings, work: Path) -> dict[str, str]:
    """One GPU, no progress bars, and no copy of the rows outside the work folder."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
    own = {
        "CUDA_VISIBLE_DEVICES": visible.partition(",")[0],
        "HF_DATASETS_CACHE": str(work / "cache"),
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    return {**os.environ, **own, **settings.environment}


def _failed(method: Method, code: int, log: Path) -> SetupError:
    lines = log.read_text("utf-8", "replace").splitlines()
    cause = explain("\n".join(lines[-400:])) or _ending(code)
    tail = "".join(f"\n  {line}" for line in lines[-_TAIL:])
    return SetupError(f"{method} training failed: {cause}\nIts last lines ({log}):{tail}")


def _ending(code: int) -> str:
    if code == -signal.SIGKILL:
        return "the system killed it, most likely for want of memory"
    return f"it ended with exit code {code}" if code else "it ended without a result"
