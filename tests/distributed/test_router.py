"""Several model servers behind one URL: deploy/hosts/router.sh with the real router."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aidsafe_dagster.recipe.records import Stage
from tests.runs.test_resume import LENIENT
from tests.serving import ModelServer, a_free_port, a_model_server
from tests.site import ROOT, a_site, prompts_file, some_prompts

pytestmark = pytest.mark.distributed
COUNT = 12
"""Prompts of a batch."""


@contextmanager
def a_router(folder: Path, *servers: ModelServer) -> Iterator[str]:
    """The base URL of a router in front of these servers."""
    port = a_free_port()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = [
        str(ROOT / "deploy" / "hosts" / "router.sh"),
        *(server.root for server in servers),
    ]
    with (
        (folder / "router.log").open("w") as log,
        subprocess.Popen(
            command,
            env=os.environ | {"PATH": path, "PORT": str(port)},
            stdout=log,
            stderr=log,
        ) as router,
    ):
        try:
            _wait_for(f"http://127.0.0.1:{port}/v1/models", folder / "router.log")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            router.terminate()


def _wait_for(url: str, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    raise TimeoutError(log.read_text())


def test_a_batch_is_made_by_all_servers_behind_one_url_and_by_the_rest_when_one_fails(
    tmp_path: Path,
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with (
        a_model_server(tmp_path / "one") as one,
        a_model_server(tmp_path / "two") as two,
        a_router(tmp_path, one, two) as base_url,
        a_site(
            tmp_path / "site",
            engine="endpoint",
            endpoint={"base_url": base_url, "model": "fake-model"},
            driver={"backoff_s": 0.05, "max_backoff_s": 0.5},
            checks=LENIENT,
            pairs={"max_similarity": 1.0},
            ingest={"batch_size": COUNT},
        ) as site,
    ):
        site.ingest(prompts_file(site.folder, some_prompts(2 * COUNT), "mine"))
        assert site.batches == ["mine-0001", "mine-0002"]
        assert site.make("mine-0001").success
        calls_before = two.stats()["ok"]
        calls = one.stats()["ok"] + calls_before
        assert min(one.stats()["ok"], calls_before) > calls / 4
        two.control(outage={"seconds": 600, "kind": "503"})
        run = site.make("mine-0002")
        assert run.success, run.error
        assert two.stats()["ok"] == calls_before
        for batch in site.batches:
            assert site.lake.rows(Stage.REFINED_COTS, batch).height == COUNT
