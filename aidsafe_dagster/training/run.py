"""Run a training script in its own environment, as a subprocess tied to this process.

    config.json   → what to train, written here      adapter/, result.json  ← adapter and results
    train.log     ← all output, secrets masked       metrics.jsonl          ← curves, line by line

The environment is separate because the dependencies of TRL and of Dagster change at different
times, and because an orchestrator has no use for torch. The script asks the kernel for a signal
when its parent dies (`scripts/lifeline.py`). If the run is cancelled, the script is killed here.
"""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.secret_mask import mask_environment
from aidsafe_dagster.training.causes import explain_failure
from aidsafe_dagster.training.settings import Method, TrainingSettings

_SCRIPTS = Path(__file__).parent / "scripts"
# A long traceback may follow the line that names the cause.
_EXPLAINED_LINES = 400
_QUOTED_LINES = 20


def require_setup(settings: TrainingSettings) -> None:
    """Return if a training can be started, as far as its settings tell.

    Raises:
        SetupError: no base model is named, or the interpreter is not there.
    """
    if not settings.model:
        raise SetupError(
            "training.model: the base model to train is required (a folder, or its name on the Hub)"
        )
    python = settings.python or sys.executable
    if shutil.which(python) is None:
        raise SetupError(f"training.python: {python}: {os.strerror(errno.ENOENT)}")


def run_script(
    method: Method,
    settings: TrainingSettings,
    config: Mapping[str, Any],
    work: Path,
    log: Callable[[str], None],
) -> dict[str, Any]:
    """Train in the folder `work`; each line that the script prints goes to `log`.

    Returns:
        What the script wrote to `result.json`: losses, steps, rows, device and library versions.

    Raises:
        SetupError: the interpreter cannot be started, or the training failed; the message has the
            cause and the last lines of the log.
    """
    config_json = json.dumps(config, indent=1)
    (work / "config.json").write_text(config_json, "utf-8")
    result = work / "result.json"
    # An earlier result must not pass for this one's.
    result.unlink(missing_ok=True)
    exit_code = _run_process(method, settings, work, log)
    # The result is the last thing a script writes, so its absence means an unfinished training.
    if exit_code == 0 and result.exists():
        return dict(json.loads(result.read_text("utf-8")))
    raise _failure(method, exit_code, work / "train.log")


def _run_process(
    method: Method, settings: TrainingSettings, work: Path, log: Callable[[str], None]
) -> int:
    python = settings.python or sys.executable
    command = [
        python,
        # Ignore PYTHONPATH: it belongs to this process's environment.
        "-E",
        # Unbuffered, so that progress arrives line by line.
        "-u",
        # Hide warnings that are meant for the authors of libraries.
        "-W",
        "ignore",
        str(_SCRIPTS / f"{method}.py"),
        str(work / "config.json"),
        str(os.getpid()),
    ]
    try:
        process = subprocess.Popen(  # noqa: S603 - the interpreter is the user's, the script ours
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            env=training_environment(settings, work),
            # A process group of its own, which can be killed as a whole.
            start_new_session=True,
        )
    except OSError as error:
        raise SetupError(f"training.python: {python}: {error.strerror}") from error
    log_file = work / "train.log"
    # Line by line, so that the log can be followed.
    with process, log_file.open("w", buffering=1, encoding="utf-8") as file:
        try:
            _relay_output(process, file.write, log)
            return process.wait()
        except BaseException:
            # The run was cancelled. Leaving the block would wait for the training to end.
            _kill_group(process)
            raise


def _relay_output(
    process: subprocess.Popen[str],
    write: Callable[[str], Any],
    log: Callable[[str], None],
) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        # Before it reaches any file: a library may print its request, token included.
        masked = mask_environment(line.rstrip())
        write(f"{masked}\n")
        if masked:
            log(masked)


def _kill_group(process: subprocess.Popen[str]) -> None:
    """Kill the process and its children, which share a process group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    # Otherwise a zombie would stay, and the GPU would still be in use when the error is raised.
    process.wait()


def training_environment(settings: TrainingSettings, work: Path) -> dict[str, str]:
    """Allow one GPU, no progress bars, and no copy of the rows outside the work folder."""
    # With several GPUs in sight, the trainer would spread over all, also those of a model server.
    devices = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
    defaults = {
        "CUDA_VISIBLE_DEVICES": devices.partition(",")[0],
        "HF_DATASETS_CACHE": str(work / "cache"),
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    # The settings come last: they may assign another GPU.
    return {**os.environ, **defaults, **settings.environment}


def _failure(method: Method, exit_code: int, log: Path) -> SetupError:
    lines = log.read_text("utf-8", "replace").splitlines()
    tail = "\n".join(lines[-_EXPLAINED_LINES:])
    cause = explain_failure(tail)
    if cause is None:
        cause = _describe_exit(exit_code)
    message = [f"{method} training failed: {cause}", f"Last lines of {log}:"]
    for line in lines[-_QUOTED_LINES:]:
        message.append(f"  {line}")
    return SetupError("\n".join(message))


def _describe_exit(exit_code: int) -> str:
    # The kernel's out-of-memory killer leaves no line in the log.
    if exit_code == -signal.SIGKILL:
        return "the system killed it, most likely because memory ran out"
    if exit_code == 0:
        return "it ended without a result"
    return f"it ended with exit code {exit_code}"
