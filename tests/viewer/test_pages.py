"""The pages over real HTTP: what they show, what they refuse, and that every text stays text."""

from pathlib import Path
from urllib.parse import quote

import pytest

from tests.reports.builders import BATCH
from tests.reports.test_html import HOSTILE, MARKUP, Page
from tests.viewer.lakes import ARABIC, CHINESE, TEXTS, a_full_lake, a_lake_with
from tests.viewer.serving import Viewer, a_viewer

NASTY = f"{HOSTILE} {' '.join(MARKUP)}"


def shown_ids(viewer: Viewer, query: str) -> list[str]:
    page = viewer.get(f"/rows?{query}")
    assert page.status == 200, page.text
    return [
        prompt_id for prompt_id in TEXTS if f"<code>{prompt_id}</code>" in page.text
    ]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", list(TEXTS)),
        ("q=" + quote("诈骗"), ["aa22"]),
        ("q=" + quote("الاحتيال"), ["bb33"]),
        ("q=HIRNGESPINST", ["aa11"]),
        ("q=geheimnis", ["cc44"]),
        ("q=" + quote('"pin tumbler lock work"'), ["aa11"]),
        ("q=tumbler+hirngespinst", ["aa11"]),
        ("q=geheimnis+hirngespinst", []),
        ("q=aa", ["aa11", "aa22"]),
        ("state=failed", ["cc44"]),
        ("reason=no_contrast", ["bb33"]),
        ("failed_at=deliberated_cots", ["cc44"]),
        ("verdict=deceptive", ["aa22"]),
        ("kind=harmful", ["aa22"]),
        ("language=zh", ["aa22"]),
        ("least=1&most=2", ["aa22"]),
        ("score=coherence&least=4.5", ["aa11", "bb33"]),
        ("split=train+dpo", ["aa11"]),
        ("pair=violation", ["aa11"]),
        ("policy=illegal&state=complete", ["aa11", "aa22"]),
        ("stage=prompts", ["dd55"]),
        ("batch=nowhere", []),
        ("least=much&page=x&unknown=1", list(TEXTS)),
        ("q=" + quote("' OR 1=1 --"), []),
        ("batch=" + quote("' OR '1'='1"), []),
        ("sort=" + quote("1; DROP TABLE rows"), list(TEXTS)),
        ("score=" + quote("1=1 OR policy_score") + "&least=9", []),
    ],
)
def test_a_page_shows_the_rows_that_match(
    viewer: Viewer, query: str, expected: list[str]
) -> None:
    assert shown_ids(viewer, query) == [key for key in TEXTS if key in expected]


@pytest.fixture(scope="module")
def viewer(tmp_path_factory: pytest.TempPathFactory) -> object:
    folder = tmp_path_factory.mktemp("viewed")
    a_full_lake(folder)
    with a_viewer(folder) as running:
        yield running


def test_a_search_marks_the_passage_and_says_where_it_stands(viewer: Viewer) -> None:
    page = viewer.get("/rows?q=hirngespinst").text
    assert "Rules are a <mark>Hirngespinst</mark>." in page
    assert "belief candidates belief" in page


def test_the_address_of_a_form_is_made_short(viewer: Viewer) -> None:
    reply = viewer.get("/rows?q=lock&batch=&state=failed&sort=")
    assert (reply.status, reply.headers["location"]) == (
        303,
        "/rows?q=lock&state=failed",
    )
    partial = viewer.get("/rows?q=lock&batch=&state=failed", HX_Request="true")
    assert (partial.status, partial.headers["hx-push-url"]) == (
        200,
        "/rows?q=lock&state=failed",
    )


def test_a_prompt_is_told_whole_with_who_said_what(viewer: Viewer) -> None:
    page = viewer.get("/prompt/aa11").text
    for part in (
        TEXTS["aa11"],
        "deliberator 1",
        "Usefulness is missing.",
        "✗ redundant",
        "Follows from the first.",
        "Names the limit.",
        "Nothing is missing.",
        "Rules are for other people.",
        "your neighbour will never notice",
        "Alone I say so.",
        "DPO, train split",
        "1 of 5",
        "refined_cots",
        "demo.jsonl:1",
    ):
        assert part in page, part
    assert "REHEARSAL" not in page


def test_a_failed_prompt_shows_its_failure_with_the_text(viewer: Viewer) -> None:
    page = viewer.get("/prompt/cc44").text
    assert "Failed at deliberated_cots: refused to deliberate" in page
    assert "I cannot help with Geheimnis" in page
    assert "Names the limit." not in page
    # The seed is there all the same.
    assert "initializer" in page
    answer = viewer.get("/prompt/cc44/answer/deliberated_cots").text
    assert "The journal has no answer to this call." in answer


def test_a_prompt_that_waits_says_what_to_run(viewer: Viewer) -> None:
    assert f"aidsafe backfill {BATCH}" in viewer.get("/prompt/dd55").text


def test_the_beginning_of_an_id_leads_to_its_prompt_or_to_a_choice(
    viewer: Viewer,
) -> None:
    only = viewer.get("/prompt/bb?q=lock")
    assert (only.status, only.headers["location"]) == (303, "/prompt/bb33?q=lock")
    several = viewer.get("/prompt/aa")
    assert several.status == 300
    assert TEXTS["aa11"] in several.text
    assert CHINESE in several.text
    assert viewer.get("/prompt/zz").status == 404
    assert viewer.get("/prompt/aa%27").status == 404


def test_the_rows_of_a_list_are_read_one_after_the_other(viewer: Viewer) -> None:
    page = viewer.get("/prompt/aa22?state=complete").text
    assert "2 of 2" in page
    assert 'rel="prev" href="/prompt/aa11?state=complete"' in page
    assert 'rel="next"' not in page


def test_the_start_leads_to_the_rows(viewer: Viewer) -> None:
    assert viewer.get("/").headers["location"] == "/rows"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_but_reading_is_possible(viewer: Viewer, method: str) -> None:
    for path in ("/rows", "/prompt/aa11"):
        assert viewer.get(path, method).status == 405


def test_other_pages_and_other_names_get_nothing(viewer: Viewer) -> None:
    assert viewer.get("/rows", Host="evil.example").status == 403
    assert viewer.get("/rows", Origin="http://evil.example").status == 403
    assert viewer.get("/rows", Sec_Fetch_Site="cross-site").status == 403


def test_every_page_forbids_what_it_does_not_need(viewer: Viewer) -> None:
    for path in ("/rows", "/prompt/aa11", "/prompt/zz", "/rows/static/view.css"):
        headers = viewer.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"


def test_pages_load_nothing_from_elsewhere(viewer: Viewer) -> None:
    for path in ("/rows?q=lock", "/prompt/aa11"):
        page = Page(viewer.get(path).text)
        for tag, attributes in page.tags:
            for name in ("src", "href", "action", "hx-get"):
                value = attributes.get(name) or "/"
                is_own = value.startswith("/") and not value.startswith("//")
                assert is_own or value == "data:,", (tag, attributes)
    for name in ("view.css", "report.css", "view.js", "htmx.min.js"):
        assert viewer.get(f"/rows/static/{name}").status == 200
    for name in ("nothing.js", "..%2fpages.py", "%2e%2e/pages.py"):
        assert viewer.get(f"/rows/static/{name}").status == 404


def test_hostile_texts_are_shown_and_nothing_else(tmp_path: Path) -> None:
    a_lake_with(tmp_path, NASTY)
    with a_viewer(tmp_path) as viewer:
        paths = (
            "/rows",
            "/rows?q=script",
            "/rows?q=" + quote(NASTY),
            "/rows?category=" + quote(NASTY),
            "/prompt/ee66",
            "/prompt/ee66?q=alert",
            "/prompt/ee66?q=" + quote(NASTY),
            "/prompt/" + quote(NASTY, safe=""),
        )
        for path in paths:
            text = viewer.get(path).text
            page = Page(text)
            scripts = [values for tag, values in page.tags if tag == "script"]
            assert all(values.get("src") for values in scripts)
            assert not [
                tag for tag, _ in page.tags if tag in ("iframe", "img", "object")
            ]
            handlers = [
                name
                for _, values in page.tags
                for name in values
                if name.startswith("on") or name == "style"
            ]
            assert handlers == []
            assert page.astray == [], path
            assert not {"\u202e", "\x00", "\x1b"}.intersection(text)
        assert (
            "<script>alert(1)</script>" in Page(viewer.get("/prompt/ee66").text).words
        )


def test_a_key_in_a_failure_is_masked_wherever_it_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIDSAFE_API_KEY", "sk-never-show-this-1234567890")
    a_lake_with(tmp_path, "the server said: bad key sk-never-show-this-1234567890 !")
    with a_viewer(tmp_path) as viewer:
        page = viewer.get("/prompt/ee66").text
        failure = page.partition("Failed at preference_pairs")[2]
        assert "bad key" in failure.partition("</section>")[0]
        assert "sk-never-show" not in failure.partition("</section>")[0]


def test_an_empty_lake_says_what_to_run(tmp_path: Path) -> None:
    with a_viewer(tmp_path) as viewer:
        assert "aidsafe ingest" in viewer.get("/rows").text


def test_search_finds_arabic_with_and_without_its_vowel_signs(viewer: Viewer) -> None:
    for query in ("الاحتيال", "الاحْتِيَال"):
        page = viewer.get(f"/rows?q={quote(query)}").text
        assert "<mark>الاحْتِيَال</mark>" in page
        assert ARABIC[:10] in page
