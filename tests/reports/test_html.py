import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

from aidsafe_dagster.reports.html import to_html
from aidsafe_dagster.reports.sections import Plot, Section, Table
from tests.builders import (
    a_comparison,
    a_cot_grades,
    a_deliberated_cot,
    a_grade,
    a_pair,
    a_refined_cot,
    a_refined_thought,
    a_score,
    a_seed_cot,
    a_single_llm_cot,
    a_thought,
    an_ungraded,
)
from tests.reports.builders import a_lake, a_report, many

VOID = {"link", "meta", "input", "br", "path", "use", "rect"}
HOSTILE = (
    "<script>alert(1)</script> & \"quotes\" 'n' {{ 7 * 7 }} {% raw %} \x00\x1b[31m ]]> --> 🦊 "
    "\u202eabc | *a* _b_"
)
MARKUP = (
    "<img src=x onerror=alert(1)>",
    "</style><script>",
    "javascript:alert(1)",
    "<iframe",
)


class Page(HTMLParser):
    """Tags with their attributes, words outside style and script, and tags closed out of order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words = ""
        self.astray: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self.open or self.open[-1] != tag:
            self.astray.append(tag)
        else:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if not {"style", "script"}.intersection(self.open):
            self.words += data


def a_hostile_page(folder: Path) -> str:
    """Return a page on which every text by a user or a model is hostile."""
    hostile = f"{HOSTILE} {' '.join(MARKUP)}"
    score = a_score(reason=hostile, rule=hostile)
    lake = a_lake(
        folder,
        seed_cots=[a_seed_cot(response=hostile)],
        deliberated_cots=[a_deliberated_cot()],
        refined_cots=[
            a_refined_cot(
                prompt=hostile,
                source=hostile,
                category=hostile,
                licence=hostile,
                model=hostile,
                response=hostile,
                thoughts=(a_refined_thought(text=hostile, rules=(hostile, "fraud.1")),),
                deliberated_thoughts=tuple(
                    a_thought(number=n, text=hostile, rules=(hostile,))
                    for n in (1, 2, 3)
                ),
            )
        ],
        cot_grades=[
            a_cot_grades(
                grades=(
                    a_grade(policy_to_cot=score, model=hostile),
                    a_grade(version="single_llm", model=hostile),
                ),
                comparisons=(a_comparison(reasons=(hostile, hostile)),),
                ungraded=(an_ungraded(task=hostile, detail=hostile),),
            )
        ],
        preference_pairs=[
            a_pair(belief=hostile, rejected_cot=hostile, rejected_response=hostile)
        ],
        single_llm_cots=[a_single_llm_cot(response=hostile)],
    )
    further = Section(
        hostile,
        hostile,
        [Table(hostile, (hostile, "n"), ((hostile, hostile),), hostile)],
        [Plot(hostile, lambda axes: axes.set_title("<b>&"))],
    )
    return to_html(a_report(lake, further=[further]), "Quality report")


def test_hostile_texts_are_shown_as_text(tmp_path: Path) -> None:
    html = a_hostile_page(tmp_path)
    page = Page(html)
    assert page.astray == page.open == []
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not {"img", "iframe", "object", "embed", "link", "base"}.intersection(
        tag for tag, _ in page.tags
    )
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
    assert (
        page.words.count(
            "<script>alert(1)</script> & \"quotes\" 'n' {{ 7 * 7 }} {% raw %} \ufffd\ufffd[31m"
        )
        > 10
    )
    assert "🦊" in page.words
    assert "\x00" not in html
    assert "\x1b" not in html
    assert "49" not in re.findall(r"'n' (\d+)", page.words)


def test_the_page_loads_nothing_and_admits_only_its_own_script(
    tmp_path: Path,
) -> None:
    page = Page(html := a_hostile_page(tmp_path))
    for _, attributes in page.tags:
        for name, value in attributes.items():
            if name in (
                "href",
                "src",
                "xlink:href",
                "action",
                "formaction",
                "srcset",
                "data",
                "poster",
            ):
                assert (value or "").startswith("#"), (name, value)
    assert "@import" not in html
    assert not re.findall(r"url\((?!#)", html)
    policy = (
        next(
            a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a
        )
        or ""
    )
    script = html[html.rindex("<script>") + len("<script>") : html.rindex("</script>")]
    assert policy.startswith("default-src 'none';")
    assert (
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        in policy
    )
    assert "script-src 'unsafe-inline'" not in policy


def test_harmful_text_is_folded_behind_a_warning(tmp_path: Path) -> None:
    html = to_html(
        a_report(
            a_lake(
                tmp_path,
                refined_cots=[a_refined_cot()],
                preference_pairs=[
                    a_pair(belief="Nobody minds.", rejected_response="Take the wrench.")
                ],
            )
        ),
        "Quality report",
    )
    folded = html[html.index('<details class="harm">') :]
    folded = folded[: folded.index("</details>")]
    assert "<summary>Content warning" in folded
    for words in ("Nobody minds.", "Take the wrench."):
        assert html.count(words) == folded.count(words) == 1
    assert html.index("Content warning: this page") < html.index("<main>")


def test_a_deliberation_shows_authors_rounds_rules_verdicts_and_origins(
    tmp_path: Path,
) -> None:
    lake = a_lake(
        tmp_path,
        seed_cots=[a_seed_cot(response="The first answer.")],
        deliberated_cots=[a_deliberated_cot()],
        refined_cots=[a_refined_cot(response="The last answer.")],
        cot_grades=[
            a_cot_grades(
                grades=(a_grade(coherence=a_score(score=2, reason="It leaps.")),)
            )
        ],
    )
    page = Page(html := to_html(a_report(lake), "Quality report"))
    words = " ".join(page.words.split())
    for text in (
        "Round 1 deliberator 1 revises Usefulness is missing.",
        "✗ redundant Follows from the first.",
        "✓ kept Names the limit.",
        "The first answer.",
        "The last answer.",
        "coherence: 2 It leaps.",
        "from 2",
        "Understand locks. explicit, benign",
    ):
        assert text in words
    popover = (
        '<div popover class="ruletext" id="rule-illegal.1"><code>illegal.1</code> '
    )
    assert f"{popover}Help with no crime.</div>" in html
    assert 'popovertarget="rule-illegal.1" title="Help with no crime."' in html


def test_simulated_rows_are_labelled_at_the_top_and_on_each_deliberation(
    tmp_path: Path,
) -> None:
    lake = a_lake(tmp_path, refined_cots=many(a_refined_cot, 3, simulated=True))
    html = to_html(a_report(lake), "Quality report")
    assert html.index("Rehearsal: every answer was simulated by rule") < html.index(
        "<nav"
    )
    assert html.count('<i class="sim">simulated</i>') == 3
    assert "Rehearsal" not in to_html(
        a_report(a_lake(tmp_path / "real", refined_cots=[a_refined_cot()])), "t"
    )


def test_a_page_on_an_empty_lake_says_what_is_missing(tmp_path: Path) -> None:
    page = Page(html := to_html(a_report(a_lake(tmp_path)), "Quality report"))
    assert page.astray == page.open == []
    assert "No row has been graded yet (stage cot_grades)." in page.words
    assert "No pairs have been made yet (stage preference_pairs)." in page.words
    assert "deliberations" not in [attributes.get("id") for _, attributes in page.tags]
    assert "<table" not in html
