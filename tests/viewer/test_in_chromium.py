"""The pages as a person meets them: typing, keys, a phone, and texts that would be scripts."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.reports.test_html import HOSTILE, MARKUP
from tests.viewer.lakes import ARABIC, CHINESE, TEXTS, a_full_lake, a_lake_with
from tests.viewer.serving import Viewer, a_viewer
from tests.web_ui.browser import a_browser, needs_chromium

pytestmark = [pytest.mark.slow, needs_chromium]
NASTY = (
    f"{HOSTILE} {' '.join(MARKUP)} <b hx-get='/rows' hx-trigger='load' id='planted'>x</b> "
    "<img src=http://evil.example/x onerror=document.title='owned'> [a](javascript:alert(1))"
)
LONG = "A_long_word_without_a_single_space" * 40


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with a_browser() as running:
        yield running


@pytest.fixture(scope="module")
def viewer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewer]:
    folder = tmp_path_factory.mktemp("viewed")
    a_full_lake(folder)
    with a_viewer(folder) as running:
        yield running


def watched_page(browser: Browser, width: int = 1440) -> tuple[Page, list[str]]:
    """Return a page, and a list that grows with what goes wrong on it or leaves this machine."""
    page = browser.new_context(viewport={"width": width, "height": 900}).new_page()
    page.set_default_timeout(20_000)
    troubles = list[str]()
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("dialog", lambda dialog: troubles.append(dialog.message))
    page.on("console", lambda message: troubles.append(message.text))

    def note(url: str) -> None:
        if not url.startswith(("http://127.0.0.1:", "data:")):
            troubles.append(url)

    page.on("request", lambda request: note(request.url))
    return page, troubles


def test_typing_searches_and_the_address_can_be_sent_on(
    viewer: Viewer, browser: Browser
) -> None:
    page, troubles = watched_page(browser)
    page.goto(f"{viewer.url}/rows")
    expect(page.locator(".rows li")).to_have_count(len(TEXTS))
    page.keyboard.press("/")
    page.keyboard.type("诈骗")
    expect(page.locator(".rows li")).to_have_count(1)
    expect(page.locator("mark").first).to_have_text("诈骗")
    page.locator("summary").first.click()
    page.get_by_label("Refiner's verdict").select_option("deceptive")
    page.wait_for_url(re.compile("verdict=deceptive"))
    other, _ = watched_page(browser)
    other.goto(page.url)
    expect(other.locator(".rows li")).to_have_count(1)
    expect(other.get_by_label("Search")).to_have_value("诈骗")
    expect(other.get_by_label("Refiner's verdict")).to_have_value("deceptive")
    page.evaluate("history.back()")
    page.wait_for_url(re.compile(r"/rows\?q=[^&]*$"))
    expect(page.get_by_label("Refiner's verdict")).to_have_value("")
    assert troubles == []


def test_without_a_script_everything_is_there(viewer: Viewer, browser: Browser) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(f"{viewer.url}/rows")
    page.get_by_label("Search").fill("الاحتيال")
    page.get_by_role("button", name="Search").click()
    page.locator(".rows a").click()
    assert ARABIC in page.inner_text("blockquote.prompt")
    page.get_by_text("Back to the list").click()
    assert page.url.startswith(f"{viewer.url}/rows?q=")


def test_rows_are_walked_with_the_keyboard(viewer: Viewer, browser: Browser) -> None:
    page, troubles = watched_page(browser)
    page.goto(f"{viewer.url}/rows?state=complete")
    page.locator(".rows a").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/prompt/aa11?state=complete")
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**/prompt/aa22?state=complete")
    assert CHINESE in page.inner_text("blockquote.prompt")
    page.keyboard.press("ArrowLeft")
    page.wait_for_url("**/prompt/aa11?state=complete")
    assert troubles == []


def test_a_rule_is_read_by_clicking_it(viewer: Viewer, browser: Browser) -> None:
    page, _ = watched_page(browser)
    page.goto(f"{viewer.url}/prompt/cc44")
    page.get_by_text("Read the answer that failed").click()
    expect(page.locator("#answer")).to_contain_text("The journal has no answer")
    assert page.url.endswith("/prompt/cc44")


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_phone_and_a_desk(
    tmp_path: Path, browser: Browser, width: int, scheme: str
) -> None:
    a_full_lake(tmp_path)
    a_lake_with(tmp_path, f"{LONG} and some more words.", "demo-0002")
    with a_viewer(tmp_path) as viewer:
        for path in ("/rows", "/rows?q=A_long_word", "/prompt/aa11", "/prompt/ee66"):
            context = browser.new_context(
                viewport={"width": width, "height": 900},
                color_scheme="dark" if scheme == "dark" else "light",
            )
            page = context.new_page()
            page.goto(viewer.url + path)
            for summary in page.locator("summary").all():
                if summary.is_visible():
                    summary.click()
            sizes = "[document.documentElement.scrollWidth, innerWidth]"
            wide, inner = page.evaluate(sizes)
            assert wide <= inner, path


def test_a_hostile_text_runs_nothing_and_loads_nothing(
    tmp_path: Path, browser: Browser
) -> None:
    a_lake_with(tmp_path, NASTY)
    with a_viewer(tmp_path) as viewer:
        page, troubles = watched_page(browser)
        for path in ("/rows", "/rows?q=" + quote(NASTY), "/prompt/ee66?q=onerror"):
            page.goto(viewer.url + path)
            page.wait_for_timeout(300)
            assert page.title() != "owned"
            assert page.locator("#planted").count() == 0
        for summary in page.locator("summary").all():
            if summary.is_visible():
                summary.click()
        assert "onerror=alert(1)" in page.inner_text("main")
        assert troubles == []
