"""A gateway between the pipeline and the model server: LiteLLM's real proxy, on loopback.

`make test-gateway` creates its environment, and names its program in LITELLM.
"""

import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.records import Stage
from tests.serving import LENIENT, ModelServer, a_free_port, a_model_server
from tests.site import aidsafe, contents, prepare, prompts_file, some_prompts

pytestmark = [pytest.mark.gateway, pytest.mark.timeout(600)]
LITELLM = os.environ.get("LITELLM", "")
KEY = "sk-key-of-the-gateway"
MODEL = "fake-model"
BATCH = "mine-0001"
COUNT = 3
NOWHERE = "http://127.0.0.1:9"
"""No proxy listens there, so a request to anything but loopback fails."""


@dataclass(frozen=True)
class Gateway:
    base_url: str
    upstream: ModelServer
    """The model server behind it."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """LiteLLM's proxy in front of a model server. It takes seconds to start."""
    folder = tmp_path_factory.mktemp("gateway")
    with a_model_server(folder) as upstream:
        config = folder / "litellm.yaml"
        config.write_text(yaml.safe_dump(configuration(upstream.base_url)))
        port = a_free_port()
        address = ["--host", "127.0.0.1", "--port", str(port)]
        with (folder / "litellm.log").open("w") as log:
            process = subprocess.Popen(
                [LITELLM, "--config", str(config), *address, "--telemetry", "False"],
                cwd=folder,
                env=environment(folder),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_for(f"http://127.0.0.1:{port}/health/liveliness", process, folder)
            yield Gateway(f"http://127.0.0.1:{port}/v1", upstream)
        finally:
            process.terminate()
            process.wait(60)


def configuration(upstream: str) -> dict[str, Any]:
    parameters = {
        "model": f"openai/{MODEL}",
        "api_base": upstream,
        "api_key": "key-of-the-server",
    }
    return {
        "model_list": [{"model_name": MODEL, "litellm_params": parameters}],
        # Retries are the pipeline's business: a second queue here would hide the first one.
        "litellm_settings": {"num_retries": 0, "telemetry": False},
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
    }


def environment(folder: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LITELLM_MASTER_KEY": KEY,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "HTTP_PROXY": NOWHERE,
        "HTTPS_PROXY": NOWHERE,
        "NO_PROXY": "127.0.0.1",
    }


def wait_for(url: str, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.2)
        else:
            return
    raise AssertionError((folder / "litellm.log").read_text()[-2000:])


def prepare_site(folder: Path, base_url: str) -> None:
    endpoint = {"profile": "litellm", "base_url": base_url, "model": MODEL}
    prepare(
        folder,
        engine="endpoint",
        endpoint=endpoint,
        checks=LENIENT,
        driver={"backoff_s": 0.05, "max_backoff_s": 0.2},
    )
    source = prompts_file(folder, some_prompts(COUNT))
    ingested = aidsafe(folder, "ingest", source["path"])
    assert ingested.returncode == 0, ingested.stdout + ingested.stderr


def backfill(folder: Path, key: str = KEY) -> subprocess.CompletedProcess[str]:
    return aidsafe(folder, "backfill", LITELLM_PROXY_API_KEY=key)


def rows(folder: Path) -> dict[str, pl.DataFrame]:
    return contents(Lake(folder / "data" / "lake"))


def failure_details(folder: Path) -> str:
    failures = Lake(folder / "data" / "lake").failures(Stage.SEED_COTS, BATCH)
    return "\n".join(failures["detail"])


def test_rows_made_through_the_gateway_are_those_of_the_server_behind_it(
    tmp_path: Path, gateway: Gateway
) -> None:
    gateway.upstream.control(reset=True, faults={})
    made = {}
    for name, url in (
        ("direct", gateway.upstream.base_url),
        ("through", gateway.base_url),
    ):
        prepare_site(tmp_path / name, url)
        outcome = backfill(tmp_path / name)
        assert outcome.returncode == 0, outcome.stdout
        assert KEY not in outcome.stdout
        made[name] = rows(tmp_path / name)
    assert made["through"].keys() == made["direct"].keys()
    for table, frame in made["direct"].items():
        assert made["through"][table].equals(frame), table


def test_the_doctor_reaches_the_gateway(tmp_path: Path, gateway: Gateway) -> None:
    prepare_site(tmp_path / "site", gateway.base_url)
    outcome = aidsafe(tmp_path / "site", "doctor", LITELLM_PROXY_API_KEY=KEY)
    assert f"✓ engine {gateway.base_url}" in outcome.stdout
    assert "profile litellm" in outcome.stdout
    assert KEY not in outcome.stdout


def test_a_busy_server_behind_the_gateway_costs_no_row(
    tmp_path: Path, gateway: Gateway
) -> None:
    folder = tmp_path / "site"
    prepare_site(folder, gateway.base_url)
    # Every call is refused once.
    gateway.upstream.control(reset=True, faults={"p429": 1.0, "retry_after_s": 0.1})
    outcome = backfill(folder)
    assert outcome.returncode == 0, outcome.stdout
    assert gateway.upstream.stats()["fault_p429"] > 0
    lake = Lake(folder / "data" / "lake")
    for stage in (Stage.SEED_COTS, Stage.REFINED_COTS, Stage.PREFERENCE_PAIRS):
        assert lake.failures(stage, BATCH).height == 0, stage
    assert lake.rows(Stage.REFINED_COTS, BATCH).height == COUNT


def test_a_missing_or_wrong_key_is_told_in_the_gateway_s_own_words(
    tmp_path: Path, gateway: Gateway
) -> None:
    folder = tmp_path / "site"
    prepare_site(folder, gateway.base_url)
    gateway.upstream.control(reset=True, faults={})
    for key, words in (
        ("", ["No api key passed in", "is the key in LITELLM_PROXY_API_KEY right?"]),
        # What the proxy says of an unknown key where it has no database.
        ("sk-wrong", ["No connected db."]),
    ):
        outcome = backfill(folder, key)
        assert outcome.returncode != 0
        text = outcome.stdout + outcome.stderr + failure_details(folder)
        assert [word for word in words if word not in text] == [], text
    assert gateway.upstream.stats()["requests"] == 0
