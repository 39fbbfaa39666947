import base64
import csv
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import METRICS
from aidsafe_dagster.recipe.stages import load_templates
from aidsafe_dagster.review.form import (
    RATING_COLUMNS,
    csv_form,
    html_form,
    load_metric_definitions,
)
from aidsafe_dagster.review.sample import Item, KeyRow, ReviewSample, Side
from aidsafe_dagster.settings.schema import PACKAGE
from tests.builders import policies

DEFINITIONS = dict.fromkeys(METRICS, "what it means")
HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)> "
    "{{ 7 * 7 }} <!-- \u2028 &amp;"
)


def a_sample_of(
    prompt: str = "Why?", thought: str = "Because.", response: str = "So.", **key: Any
) -> ReviewSample:
    side = Side(thoughts=(thought, "Second."), response=response)
    values = {
        "item_id": "item-001",
        "prompt_id": "feedface",
        "batch": "mine-0007",
        "simulated": False,
    } | key
    item = Item(
        item_id="item-001",
        prompt=prompt,
        left=side,
        right=side,
    )
    return ReviewSample(
        "review-0", (item,), (KeyRow(left="refined", right="single_llm", **values),)
    )


class Page(HTMLParser):
    """Elements with their attributes, and the text of each script and style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inline: dict[str, str] = {}
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open = (
            f"{tag} {dict(attrs).get('type', '')}".strip()
            if tag in ("script", "style")
            else ""
        )

    def handle_data(self, data: str) -> None:
        if self._open:
            self.inline[self._open] = self.inline.get(self._open, "") + data

    def handle_endtag(self, tag: str) -> None:
        self._open = ""


def page_of(sample: ReviewSample, shown_policies: Policies | None = None) -> Page:
    return Page(
        html_form(
            sample,
            shown_policies or policies(),
            DEFINITIONS,
        )
    )


def csv_rows(sample: ReviewSample) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_form(sample))))


def test_the_forms_reveal_no_version_batch_or_prompt_id() -> None:
    for form in (
        html_form(a_sample_of(), policies(), DEFINITIONS),
        csv_form(a_sample_of()),
    ):
        assert not re.search("refined|single_llm|deliberated|feedface|mine-0007", form)


def test_hostile_text_reaches_the_page_only_as_data() -> None:
    page = page_of(a_sample_of(HOSTILE, HOSTILE, HOSTILE))
    (item,) = json.loads(page.inline["script application/json"])["items"]
    assert (
        item["prompt"]
        == item["left"]["thoughts"][0]
        == item["right"]["response"]
        == HOSTILE
    )
    tags = [tag for tag, _ in page.elements]
    assert tags.count("script") == 2
    assert "img" not in tags
    for _, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes)


def test_a_policy_is_shown_as_text() -> None:
    bad = (
        policies()
        .policies[0]
        .model_copy(update={"title": "<img src=x>", "purpose": "<b>bold</b>"})
    )
    page = page_of(a_sample_of(), Policies(policies=(bad,)))
    assert {"img", "b"}.isdisjoint(tag for tag, _ in page.elements)


def test_the_security_policy_admits_only_the_script_and_style_of_the_form() -> None:
    page = page_of(a_sample_of(HOSTILE))
    allowed = next(
        str(a["content"])
        for _, a in page.elements
        if a.get("http-equiv") == "Content-Security-Policy"
    )
    for directive, inline in (("script-src", "script"), ("style-src", "style")):
        digest = base64.b64encode(
            hashlib.sha256(page.inline[inline].encode()).digest()
        ).decode()
        assert f"{directive} 'sha256-{digest}';" in allowed
    assert "default-src 'none'" in allowed
    assert not any(
        {"src", "href", "action"} & attributes.keys() for _, attributes in page.elements
    )


def test_the_form_saves_the_columns_that_read_ratings_needs() -> None:
    assert json.loads(page_of(a_sample_of()).inline["script application/json"])[
        "columns"
    ] == list(RATING_COLUMNS)
    assert set(RATING_COLUMNS) <= csv_rows(a_sample_of())[0].keys()


def test_simulated_rows_are_labelled() -> None:
    assert "Rehearsal" in html_form(
        a_sample_of(simulated=True), policies(), DEFINITIONS
    )
    assert "Rehearsal" not in html_form(a_sample_of(), policies(), DEFINITIONS)


def test_raters_get_the_definitions_of_the_judge() -> None:
    definitions = load_metric_definitions(PACKAGE / "prompts")
    task = load_templates(PACKAGE / "prompts").task(
        "cot_grades", "grade", prompt="", thoughts=(), response=""
    )
    assert list(definitions) == list(METRICS)
    assert all(
        f"- {metric}: {definition}" in task
        for metric, definition in definitions.items()
    )


def test_a_template_that_does_not_explain_a_metric_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "cot_grades").mkdir()
    (tmp_path / "cot_grades" / "grade.jinja").write_text("- relevance: is it?\n")
    with pytest.raises(SetupError, match=r"grade\.jinja: no line '- coherence: …'"):
        load_metric_definitions(tmp_path)
    with pytest.raises(SetupError, match="No such file"):
        load_metric_definitions(tmp_path / "nowhere")


def test_the_csv_form_has_a_row_per_side_with_texts_and_empty_answers() -> None:
    rows = csv_rows(a_sample_of())
    assert [(row["item_id"], row["side"]) for row in rows] == [
        ("item-001", "left"),
        ("item-001", "right"),
    ]
    assert rows[0]["prompt"] == "Why?"
    assert rows[0]["cot"] == "Because.\n\nSecond."
    assert rows[0]["response"] == "So."
    assert {
        rows[0][column] for column in ("rater", *METRICS, "preferred", "comment")
    } == {""}


@pytest.mark.parametrize(
    "text", ['=HYPERLINK("x")', "+1", "-2", "@sum", " =1", "\t=1", "|cmd"]
)
def test_no_text_becomes_a_formula_in_a_spreadsheet(text: str) -> None:
    row = csv_rows(a_sample_of(text, text, text))[0]
    assert {row["prompt"], row["response"]} == {f"'{text}"}
    assert row["cot"].startswith(f"'{text}")
