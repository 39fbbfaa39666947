"""`aidsafe view` as a process, and the same rows beside the web UI."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from aidsafe_dagster.recipe.records import Stage
from tests.faults.commands import wait_until
from tests.faults.web_ui import a_web_ui
from tests.serving import a_free_port
from tests.site import (
    NO_FAULTS,
    a_site,
    aidsafe,
    environment,
    prepare,
    prompts_file,
    some_prompts,
)
from tests.viewer.lakes import TEXTS, a_full_lake
from tests.web_ui.browser import a_browser, needs_chromium

WITHIN_MS = 90_000


def get(link: str, cookie: str = "") -> tuple[int, str]:
    parts = urlsplit(link)
    connection = HTTPConnection(str(parts.hostname), int(parts.port or 80), timeout=30)
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    connection.request("GET", path, headers={"Cookie": cookie} if cookie else {})
    reply = connection.getresponse()
    text = reply.read().decode()
    connection.close()
    return reply.status, reply.getheader("set-cookie") or text


@contextmanager
def viewing(
    folder: Path, *arguments: str
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run the command until the block ends; yields the link that it printed."""
    command = [sys.executable, "-m", "aidsafe_dagster.cli", "view", *arguments]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("All rows: "), line
        yield line.removeprefix("All rows: ").strip(), process
    finally:
        process.kill()
        process.communicate()


def wait_for(link: str) -> tuple[int, str]:
    while True:
        try:
            return get(link)
        except ConnectionRefusedError:
            continue


@pytest.mark.slow
def test_a_token_lets_in_who_has_the_link_and_ctrl_c_ends_the_command(
    tmp_path: Path,
) -> None:
    prepare(tmp_path)
    a_full_lake(tmp_path / "data")
    port = a_free_port()
    with viewing(tmp_path, "bb", "--token", "--port", str(port)) as (link, process):
        assert f":{port}/prompt/bb33?token=" in link
        assert wait_for(f"http://127.0.0.1:{port}/rows")[0] == 403
        status, cookie = get(link)
        assert status == 303
        address = f"http://127.0.0.1:{port}/prompt/bb33"
        # The batches are read in the background.
        wait_until(lambda: TEXTS["bb33"] in get(address, cookie.partition(";")[0])[1])
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stdout is not None
        assert process.stdout.read() == ""


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    prepare(tmp_path)
    a_full_lake(tmp_path / "data")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        outcome = aidsafe(tmp_path, "view", "--port", str(port))
    assert outcome.returncode == 2
    assert f"aidsafe view --port {port + 1}" in outcome.stdout


@pytest.mark.slow
@needs_chromium
def test_pages_of_the_web_ui_lead_to_the_rows_and_to_those_that_failed(
    tmp_path: Path,
) -> None:
    faults = {**NO_FAULTS, "unparsable": 0.5}
    checks = {"max_failure_share": 1.0}
    with a_site(tmp_path, rehearsal=faults, checks=checks) as site:
        assert site.ingest(prompts_file(tmp_path, some_prompts(6))).success
        site.make("mine-0001")
        metadata = site.metadata(Stage.SEED_COTS, "mine-0001")
        assert metadata["read_the_rows"] == "/rows?batch=mine-0001"
        assert metadata["rows_failed"] > 0
        failures = "/rows?batch=mine-0001&failed_at=seed_cots"
        assert metadata["read_the_failures"] == failures
        with a_web_ui(tmp_path, token=True) as ui, a_browser() as browser:
            page = browser.new_page()
            page.goto(ui.link)
            page.goto(f"{ui.url}/assets/seed_cots?view=partitions&partition=mine-0001")
            link = page.get_by_role("link", name="/rows?batch=mine-0001&failed_at")
            expect(link.first).to_be_visible(timeout=WITHIN_MS)
            with page.context.expect_page() as opened:
                link.first.click(modifiers=["ControlOrMeta"])
            rows = opened.value
            expect(rows.locator(".rows li")).to_have_count(metadata["rows_failed"])
            page.goto(f"{ui.url}/assets/seed_cots?view=checks&checkDetail=integrity")
            check = page.get_by_text("/rows?batch=mine-0001").first
            expect(check).to_be_visible(timeout=WITHIN_MS)
