"""In a real browser, a hostile page gets nothing from the real web UI, and a person all of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
from playwright.sync_api import Page, Response, WebSocket, expect

from tests.faults.commands import wait_until
from tests.faults.web_ui import WebUI, a_web_ui
from tests.site import NO_FAULTS, Site, a_site, prompts_file, some_prompts
from tests.web_ui.browser import EVIL, a_browser, a_web_server, needs_chromium

pytestmark = [pytest.mark.slow, needs_chromium]
PAGES = Path(__file__).parent / "pages"
SEEN = {
    "GET by fetch": "opaque",
    "GET by fetch, to be read": "refused",
    "GET by image": "refused",
    "GET by script": "refused",
    "GET by frame": "opaque",
    "POST of text": "opaque",
    "POST of text, to be read": "refused",
    # A page may not send this type without asking first, so the browser sends plain text.
    "POST of JSON": "opaque",
    "POST of JSON, to be read": "refused",
    "POST of a form": "opaque",
    "POST in parts": "opaque",
    "the UI in a frame": "opaque",
    "a page's data": "refused",
    "a websocket": "refused",
}
"""What a page of another origin sees. What is opaque to it was refused by the server."""
WITHIN_MS = 90_000


@contextmanager
def two_batches(folder: Path) -> Iterator[Site]:
    settings = {"ingest": {"batch_size": 3}, "rehearsal": NO_FAULTS}
    with a_site(folder, **settings) as site:
        site.ingest(prompts_file(folder, some_prompts(6)))
        yield site


@pytest.mark.parametrize("token", [False, True], ids=["open", "with a token"])
def test_a_page_of_another_origin_starts_nothing_and_reads_nothing(
    tmp_path: Path, *, token: bool
) -> None:
    with (
        two_batches(tmp_path) as site,
        a_web_ui(tmp_path, token=token) as ui,
        a_web_server(PAGES) as port,
        a_browser() as browser,
    ):
        # As for a person who has the UI open: with a token, the browser has its cookie.
        context = browser.new_context()
        own = context.new_page()
        own.goto(ui.link)
        expect(own.get_by_text("Materialize all")).to_be_visible(timeout=WITHIN_MS)
        for host in ("127.0.0.1", "localhost", EVIL):
            hostile = f"http://{host}:{port}/hostile.html?ui={ui.url}"
            _attack(context.new_page(), hostile, ui)
        assert len(site.instance.get_runs()) == 1  # the ingestion
        assert site.instance.get_backfills() == []
        ui.backfill_assets(["mine-0001"])
        assert len(site.instance.get_backfills()) == 1


def _attack(page: Page, hostile: str, ui: WebUI) -> None:
    statuses = []

    def note(reply: Response) -> None:
        if reply.url.startswith(ui.url):
            statuses.append(reply.status)

    page.on("response", note)
    page.goto(hostile)
    assert page.evaluate("attack()") == SEEN
    for navigate in ("location = link", "submitForm()"):
        page.goto(hostile)
        with page.expect_navigation(url=f"{ui.url}/**"):
            page.evaluate(navigate)
        assert "refused" in page.inner_text("body")
    # The server's own word, whatever the page could see of it.
    assert set(statuses) == {403}


def test_a_name_that_leads_to_the_ui_opens_it_no_more_than_a_foreign_page(
    tmp_path: Path,
) -> None:
    with two_batches(tmp_path), a_web_ui(tmp_path) as ui, a_browser() as browser:
        page = browser.new_page()
        port = ui.url.rpartition(":")[2]
        reply = page.goto(f"http://{EVIL}:{port}/")
        assert reply is not None
        assert reply.status == 403
        assert "does not go by that name" in page.inner_text("body")


def test_a_backfill_is_launched_by_clicking_and_its_runs_log_arrives_by_itself(
    tmp_path: Path,
) -> None:
    with (
        two_batches(tmp_path) as site,
        a_web_ui(tmp_path, token=True) as ui,
        a_browser() as browser,
    ):
        page = browser.new_page()
        page.goto(ui.link)
        page.goto(f"{ui.url}/assets/prompts")
        page.get_by_role("button", name="Materialize").first.click(timeout=WITHIN_MS)
        dialog = page.get_by_role("dialog")
        dialog.get_by_text("All", exact=True).click()
        dialog.get_by_role("button", name="Launch backfill").click()
        wait_until(lambda: len(site.instance.get_backfills()) == 1, ui.alive)
        (backfill,) = site.instance.get_backfills()
        page.goto(f"{ui.url}/runs")
        row = page.get_by_text(backfill.backfill_id).first
        expect(row).to_be_visible(timeout=WITHIN_MS)
        for batch in ("mine-0001", "mine-0002"):
            _watch_run(page, ui, site, batch)


def _watch_run(page: Page, ui: WebUI, site: Site, batch: str) -> None:
    """See a run's log grow to its end on one page, which is told of it by a websocket."""
    of_batch = dg.RunsFilter(tags={"dagster/partition": batch})
    wait_until(lambda: bool(site.instance.get_runs(of_batch)), ui.alive)
    (run,) = site.instance.get_runs(of_batch)
    pieces = list[str]()

    def listen(socket: WebSocket) -> None:
        socket.on("framereceived", lambda frame: pieces.append(str(frame)))

    page.on("websocket", listen)
    page.goto(f"{ui.url}/runs/{run.run_id}")
    expect(page.get_by_text("RUN_SUCCESS")).to_be_visible(timeout=WITHIN_MS)
    assert any("pipelineRunLogs" in piece for piece in pieces)
