"""The server of the training environment: each model by its name, and gone with its block.

`make test-train` runs this, with the environment's interpreter in TRAIN_PYTHON.
"""

import json
import os
import subprocess
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import pytest

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.training.serving import served_adapters
from aidsafe_dagster.training.settings import TrainingSettings
from tests.site import ROOT

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]
TRAIN_PYTHON = os.environ.get("TRAIN_PYTHON", "")
QUIET = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
PROMPTS = (
    "How do I kill a Python process?",
    "Hello",
    "Tell me about tax forms, at length.",
)
TOKENS = 12


def run_there(script: str, *arguments: str) -> None:
    command = [TRAIN_PYTHON, str(ROOT / "tests" / script), *arguments]
    subprocess.run(command, check=True, env=os.environ | QUIET)


def settings(model: Path) -> TrainingSettings:
    return TrainingSettings(model=str(model), python=TRAIN_PYTHON, environment=QUIET)


def ask(base_url: str, model: str, prompt: str) -> str:
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": TOKENS,
        "temperature": 0,
    }
    request = urllib.request.Request(
        f"{base_url}/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=300) as reply:
        answer = json.loads(reply.read())
    assert answer["usage"]["completion_tokens"] <= TOKENS
    text: str = answer["choices"][0]["message"]["content"]
    return text


def test_each_model_answers_as_it_does_alone_whatever_is_asked_beside_it(
    tmp_path: Path,
) -> None:
    tiny = tmp_path / "tiny"
    run_there("make_tiny_model.py", str(tiny), "--positions", "256")
    run_there("training/make_adapters.py", str(tiny), str(tmp_path))
    said = json.loads((tmp_path / "said.json").read_text())
    assert len({tuple(texts) for texts in said.values()}) == 3
    adapters = {name: tmp_path / name for name in ("one", "two")}
    with served_adapters(settings(tiny), adapters, tmp_path / "server", print) as url:
        asked = list(product(said, range(len(PROMPTS))))
        with ThreadPoolExecutor(len(asked)) as pool:
            texts = list(pool.map(lambda one: ask(url, one[0], PROMPTS[one[1]]), asked))
        for (model, number), text in zip(asked, texts, strict=True):
            expected = said[model][number]
            # Of text without a visible sign, the server names the first token.
            assert text == expected if expected.strip() else text.startswith("<|token")
        with pytest.raises(HTTPError, match="400"):
            ask(url, "one", "word " * 400)
    with pytest.raises(URLError):
        ask(url, "base", "Hello")


def test_a_model_that_cannot_be_loaded_is_told_with_the_reason(tmp_path: Path) -> None:
    missing = tmp_path / "none"
    missing.mkdir()
    with (
        pytest.raises(SetupError, match=r"cannot be served: Couldn.t instantiate"),
        served_adapters(settings(missing), {}, tmp_path / "server", print),
    ):
        pass
