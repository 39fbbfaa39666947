"""The model server's process, its file of answers, and how it is killed and started again."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.serving import RULES, ModelServer, a_free_port
from tests.site import ROOT

TRANSPORT_FAULTS = {
    "p429": 0.03,
    "p500": 0.03,
    "drop": 0.02,
    "slow": 0.02,
    "bad_body": 0.02,
    "max_faulty_attempts": 2,
    "retry_after_s": 0.2,
}
"""Shares of the attempts at a call."""


@dataclass
class Model:
    """The model server, which can be killed and started again at the same port."""

    folder: Path
    port: int
    _process: subprocess.Popen[bytes] | None = None

    @property
    def server(self) -> ModelServer:
        return ModelServer(f"http://127.0.0.1:{self.port}")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        module = [sys.executable, "-m", "tests.chaos.answering"]
        where = ["--folder", str(self.folder), "--port", str(self.port)]
        environ = os.environ | {"PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen([*module, *where], env=environ, cwd=ROOT)
        deadline = time.monotonic() + 60
        while not self._is_up():
            assert time.monotonic() < deadline, "the model server did not come up"
            time.sleep(0.05)

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def answered(self) -> int:
        """Return how many lines the file of answers has, over all its lives."""
        file = self.folder / "answers"
        return file.read_bytes().count(b"\n") if file.exists() else 0

    def _is_up(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.server.root}/health", timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            return False


def answers_in(file: Path) -> Counter[str]:
    """Return how often each request was answered."""
    return Counter(file.read_text().split()) if file.exists() else Counter()


@contextmanager
def a_model(folder: Path, seed: int, *, is_clean: bool) -> Iterator[Model]:
    """Run a model server with its rules and its file of answers in this folder."""
    folder.mkdir(parents=True)
    server = RULES["server"] | {"seed": seed}
    faults = {} if is_clean else TRANSPORT_FAULTS
    rules = RULES | {"server": server, "faults": faults}
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    model = Model(folder, a_free_port())
    model.start()
    try:
        yield model
    finally:
        model.kill()
