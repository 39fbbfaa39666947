"""Serve trained adapters in the training environment, while an evaluation asks them.

Slower than vLLM by far, and works wherever adapters can be trained, with no server to set up.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.secret_mask import mask_environment
from aidsafe_dagster.training.causes import explain_failure
from aidsafe_dagster.training.run import training_environment
from aidsafe_dagster.training.settings import TrainingSettings

_SCRIPT = Path(__file__).parent / "scripts" / "serve.py"
_POLL_S = 0.1
_LINES = 20


@contextmanager
def served_adapters(
    settings: TrainingSettings,
    adapters: Mapping[str, Path],
    folder: Path,
    log: Callable[[str], None],
) -> Iterator[str]:
    """Serve the base model and adapters of it; yield the base URL.

    The server ends with the block, and with this process, however that ends.

    Args:
        settings: of the training: base model, interpreter, environment.
        adapters: name → folder.
        folder: for the server's configuration and log.
        log: called with a line when the server starts.

    Raises:
        SetupError: the interpreter or the server does not start; says why.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port_file = folder / f"port-{os.getpid()}"
    port_file.unlink(missing_ok=True)
    config = {
        "model": settings.model,
        "revision": settings.revision,
        "quantize": settings.quantize,
        "precision": settings.precision,
        "adapters": {name: str(path) for name, path in adapters.items()},
        "batch": settings.answers_at_once,
        "port_file": str(port_file),
    }
    config_file = folder / f"serve-{os.getpid()}.json"
    config_file.write_text(json.dumps(config, indent=1), "utf-8")
    log_file = folder / "serve.log"
    log(f"loading {settings.model} and {len(adapters)} adapters to be asked")
    process = _start(settings, config_file, log_file, folder)
    try:
        port = _wait_for_port(process, port_file, log_file)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for leftover in (port_file, config_file):
            leftover.unlink(missing_ok=True)


def _start(
    settings: TrainingSettings, config: Path, log_file: Path, folder: Path
) -> subprocess.Popen[bytes]:
    python = settings.python or sys.executable
    options = ["-E", "-u", "-W", "ignore"]
    command = [python, *options, str(_SCRIPT), str(config), str(os.getpid())]
    with log_file.open("wb") as output:
        try:
            return subprocess.Popen(  # noqa: S603 - the interpreter is the user's, the script ours
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=training_environment(settings, folder),
                start_new_session=True,
            )
        except OSError as error:
            raise SetupError(f"training.python: {python}: {error.strerror}") from error


def _wait_for_port(
    process: subprocess.Popen[bytes], port_file: Path, log_file: Path
) -> int:
    while not port_file.exists():
        if process.poll() is not None:
            text = log_file.read_text("utf-8", "replace")
            cause = explain_failure(text) or f"exit code {process.returncode}"
            lines = [mask_environment(line) for line in text.splitlines()[-_LINES:]]
            tail = "\n".join(f"  {line}" for line in lines)
            raise SetupError(
                f"the adapters cannot be served: {cause}\nLast lines of {log_file}:\n{tail}"
            )
        time.sleep(_POLL_S)
    return int(port_file.read_text())
