"""A stand-in for the training environment's interpreter, for tests of processes and not of models.

It takes the same arguments: options, a training script, its configuration, a pid. The name of the
model determines what it does: `broken-…` exits with a line that the libraries would print, `slow`
never ends, and anything else writes the files that the script would write, once nothing holds it
back.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ERRORS = {
    "broken-package": "ModuleNotFoundError: No module named 'trl'",
    "broken-4bit": (
        "ImportError: Using 4-bit quantization requires bitsandbytes: `pip install -U bitsandbytes`"
    ),
    "broken-memory": "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
    "broken-name": (
        "OSError: broken-name is not a local folder and is not a valid model identifier "
        "listed on the Hub"
    ),
    "broken-gate": "Cannot access gated repo; token " + os.environ.get("HF_TOKEN", ""),
    "broken-hub": "We couldn't connect to 'https://hub' to load the files",
    "broken-layers": "ValueError: Target modules {'q'} not found in the base model.",
    "broken-template": "cannot train: broken-template has no chat template",
    "broken-disk": "OSError: [Errno 28] No space left on device",
    "broken-somehow": "ZeroDivisionError: division by zero",
}


def main(script: Path, config: dict[str, Any], parent: int) -> None:
    work, model = Path(config["work"]), config["model"]
    print(f"stand-in for {script.name} with {model}", flush=True)
    if model in ERRORS:
        sys.exit(ERRORS[model])
    if model == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if model == "slow":
        sleep(script, work, parent)
    hold(work)
    if model != "silent":
        write(work, config)


def sleep(script: Path, work: Path, parent: int) -> None:
    """Never return; has a child, like a data loader, and dies with its parent like the scripts."""
    sys.path.insert(0, str(script.parent))
    from lifeline import die_with_parent

    die_with_parent(parent)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (work / "pids").write_text(f"{os.getpid()} {child.pid}")
    time.sleep(600)


def hold(work: Path) -> None:
    """Wait while the file that STAND_IN_HOLD names exists."""
    file = os.environ.get("STAND_IN_HOLD")
    while file and Path(file).exists():
        (work / "holding").touch()
        time.sleep(0.05)


def write(work: Path, config: dict[str, Any]) -> None:
    (work / "adapter").mkdir(exist_ok=True)
    weights = json.dumps([config["steps"], config["from_adapter"]])
    (work / "adapter" / "adapter_model.safetensors").write_text(weights)
    lines = [
        {"loss": 2.5, "step": 1},
        {"eval_loss": 2.25, "step": 1},
        {"loss": 1.5, "step": 2},
    ]
    (work / "metrics.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines)
    )
    result = {
        "steps": 2,
        "train_loss": 1.5,
        "eval_loss": 2.25,
        "gpu": "",
        "base_commit": "",
        "libraries": {"trl": "0"},
    }
    result["visible"] = os.environ["CUDA_VISIBLE_DEVICES"]
    (work / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    *_, script, config, pid = sys.argv
    main(Path(script), json.loads(Path(config).read_text()), int(pid))
