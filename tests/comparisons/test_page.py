"""The page of a comparison: escaped, offline, and with what was written to be harmful folded."""

from pathlib import Path

from aidsafe_dagster.comparisons.page import comparison_page
from aidsafe_dagster.comparisons.report import build_report
from aidsafe_dagster.comparisons.rows import changed_rows
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.settings.schema import Settings
from tests.builders import policies
from tests.comparisons.lakes import a_row, compared, fill, other_policies
from tests.reports.test_html import HOSTILE, MARKUP, Page

HOSTILE_TEXT = f"{HOSTILE} {' '.join(MARKUP)}"


def a_page(tmp_path: Path, **changes: object) -> str:
    a, b = Lake(tmp_path / "a"), Lake(tmp_path / "b")
    prompt = HOSTILE_TEXT
    fill(a, [a_row("p1", prompt=prompt), a_row("p2")], under=policies())
    changed = a_row("p1", prompt=prompt, response=HOSTILE_TEXT, **changes)
    fill(b, [changed, a_row("p2", failed="unparsable")], under=other_policies(),
         model=HOSTILE_TEXT)  # fmt: skip
    comparison = compared(a, b)
    rows = tuple(changed_rows(comparison, 10, Settings()))
    return comparison_page(comparison, build_report(comparison), rows)


def test_hostile_texts_are_shown_as_text_and_nothing_is_loaded(tmp_path: Path) -> None:
    html = a_page(tmp_path)
    page = Page(html)
    tags = [tag for tag, _ in page.tags]
    assert page.astray == page.open == []
    assert tags.count("script") == 1
    assert not {"img", "iframe", "object", "embed", "link", "base"}.intersection(tags)
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert not {"src", "srcset"}.intersection(attributes)
        assert not str(attributes.get("href", "#")).startswith(("http", "/"))
    assert "default-src 'none'" in html
    assert "<script>alert(1)</script>" in page.words
    assert "\x1b" not in html


def test_the_page_has_every_part(tmp_path: Path) -> None:
    page = Page(a_page(tmp_path, simulated=True))
    for words in ("What differs", "Outcomes", "Scores", "Refusals", "Policy coverage",
                  "Cost", "Policies word by word", "Rows side by side", "REHEARSAL: B",
                  "refined_cots: unparsable", "Say why, in one sentence.",
                  "Content warning"):  # fmt: skip
        assert words in page.words, words
    tags = [tag for tag, _ in page.tags]
    assert "ins" in tags
    assert "del" in tags
