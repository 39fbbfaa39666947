from pathlib import Path

from markdown_it import MarkdownIt

from aidsafe_dagster.reports.markdown import (
    escape_markdown,
    markdown_table,
    section_markdown,
    to_markdown,
)
from aidsafe_dagster.reports.sections import Plot, Section, Table
from tests.builders import a_refined_cot
from tests.reports.builders import a_lake, a_report, graded, many

HOSTILE = (
    "<script>alert(1)</script> | `code` **bold** [a](http://b) ![c](d)\n# e \x00 ~f~ 🦊"
)
VISIBLE = "<script>alert(1)</script> | `code` **bold** [a](http://b) ![c](d) # e ~f~ 🦊"


def rendered(markdown: str) -> str:
    return str(
        MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown)
    )


def test_hostile_texts_stay_text(tmp_path: Path) -> None:
    further = Section(
        HOSTILE,
        HOSTILE,
        [Table(HOSTILE, (HOSTILE, "n"), ((HOSTILE, HOSTILE),), HOSTILE)],
    )
    lake = a_lake(
        tmp_path, refined_cots=[a_refined_cot(category=HOSTILE, model=HOSTILE)]
    )
    html = rendered(to_markdown(a_report(lake, further=[further]), "Quality report"))
    assert "<script>" not in html
    assert "<code>code" not in html
    assert 'href="http://b"' not in html
    assert (
        html.count(
            VISIBLE.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        )
        >= 7
    )


def test_each_line_of_a_table_has_a_cell_per_column() -> None:
    markdown = markdown_table(
        Table("t", ("how", "n | m"), (("a|b", "1"), ("c", "2")), marked=frozenset({1}))
    )
    assert markdown.splitlines() == [
        "| how | n \\| m |",
        "| --- | ---: |",
        "| a\\|b | 1 |",
        "| **c** | **2** |",
    ]
    assert rendered(markdown).count("<td") == 4


def test_the_text_comes_first_and_the_images_last(tmp_path: Path) -> None:
    lake = a_lake(tmp_path, cot_grades=many(graded, 3, single_llm=3, refined=5))
    markdown = to_markdown(a_report(lake), "Quality report")
    words, _, images = markdown.partition("\n[plot-1]: ")
    assert "base64" not in words
    assert images.startswith("data:image/png;base64,")
    assert (
        rendered(markdown).count('<img src="data:image/png;base64,')
        == words.count("][plot-")
        > 2
    )


def test_a_plot_is_named_by_its_escaped_title(tmp_path: Path) -> None:
    further = Section(
        "s", plots=[Plot("a ] b", lambda axes: axes.plot([0, 1], [0, 1]))]
    )
    html = rendered(to_markdown(a_report(a_lake(tmp_path), further=[further]), "t"))
    assert 'alt="a ] b"' in html


def test_a_single_section_holds_its_images_in_place() -> None:
    plot = Plot("p", lambda axes: axes.plot([0, 1], [0, 1]))
    markdown = section_markdown(
        Section("s", "An intro.", [Table("t", ("a",), (("b",),), "A note.")], [plot])
    )
    html = rendered(markdown)
    assert markdown.startswith("An intro.\n\n### t\n\n| a |")
    assert html.count("<table") == html.count('<img src="data:image/png') == 1


def test_lines_are_joined() -> None:
    assert escape_markdown("a\r\n\n b\x07c") == "a b c"
