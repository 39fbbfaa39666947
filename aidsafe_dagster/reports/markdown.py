"""Render a report as Markdown: for the repository, a mail or the Dagster UI."""

import re

from aidsafe_dagster.reports.plots import render_png
from aidsafe_dagster.reports.sections import TO_READ, Plot, Report, Section, Table


def to_markdown(report: Report, title: str) -> str:
    """Return one document.

    Images hold their own bytes. They stand at the end, so that the text stays readable.
    """
    parts = [f"# {title}"]
    if report.simulation_warning:
        parts.append(f"> **{escape_markdown(report.simulation_warning)}**")
    parts.append(_facts_list(report))
    images: list[str] = []
    for section in report.sections:
        section_title = escape_markdown(section.title)
        parts.append(f"## {section_title}")
        parts += _text_parts(section)
        for plot in section.plots:
            # The name refers to the image at the end of the document.
            name = f"plot-{len(images) + 1}"
            plot_title = escape_markdown(plot.title)
            images.append(f"[{name}]: {render_png(plot)}")
            parts.append(f"**{plot_title}**\n\n![{plot_title}][{name}]")
    return "\n\n".join([*parts, *images]) + "\n"


def _facts_list(report: Report) -> str:
    items = []
    for name, value in report.facts.items():
        items.append(f"- **{escape_markdown(name)}:** {escape_markdown(value)}")
    return "\n".join(items)


def section_markdown(section: Section) -> str:
    """Return one section, its images in their places."""
    parts = _text_parts(section)
    for plot in section.plots:
        parts.append(f"**{escape_markdown(plot.title)}**\n\n{markdown_image(plot)}")
    return "\n\n".join(parts)


def _text_parts(section: Section) -> list[str]:
    """Return the intro and the tables, without the title."""
    parts = []
    if section.intro:
        parts.append(escape_markdown(section.intro))
    for table in section.tables:
        parts.append(f"### {escape_markdown(table.title)}")
        parts.append(markdown_table(table))
        if table.note:
            parts.append(f"*{escape_markdown(table.note)}*")
    return parts


def markdown_table(table: Table) -> str:
    """Return a table: words aligned left, figures right, marked rows bold."""
    header = list(map(escape_markdown, table.columns))
    figure_columns = len(table.columns) - table.text_columns
    rule = ["---"] * table.text_columns + ["---:"] * figure_columns
    if table.to_read:
        header.append(TO_READ)
        rule.append("---")
    lines = [_table_line(header), _table_line(rule)]
    for n, row in enumerate(table.rows):
        cells = list(map(escape_markdown, row))
        if n in table.marked:
            cells = [f"**{cell}**" for cell in cells]
        if table.to_read:
            # As `aidsafe show` takes them.
            ids = [f"`{prompt_id}`" for prompt_id in table.to_read[n]]
            cells.append(" ".join(ids))
        lines.append(_table_line(cells))
    return "\n".join(lines)


def markdown_image(plot: Plot) -> str:
    """Return an image that holds its own bytes."""
    return f"![{escape_markdown(plot.title)}]({render_png(plot)})"


def _table_line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def escape_markdown(text: str) -> str:
    """Return the text on one line, with no sign that means anything in Markdown or HTML."""
    # A line break would end the row of a table, and a control character may hide what follows.
    without_controls = re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text)
    one_line = " ".join(without_controls.split())
    return re.sub(r"([\\`*_\[\]<>#|!~&])", r"\\\1", one_line)
