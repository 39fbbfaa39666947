"""A report as Markdown: for the repository, a mail, or the Dagster UI."""

import re
from collections.abc import Iterator

from aidsafe_dagster.reports.plots import png
from aidsafe_dagster.reports.sections import Plot, Report, Section, Table


def to_markdown(report: Report, title: str) -> str:
    """One document; its images hold their own bytes, named at the end so that the text stays readable."""
    images: list[str] = []
    parts = [f"# {title}"]
    if report.simulation_warning:
        parts.append(f"> **{escaped(report.simulation_warning)}**")
    parts.append(
        "\n".join(
            f"- **{escaped(name)}:** {escaped(value)}" for name, value in report.facts.items()
        )
    )
    for section in report.sections:
        parts += [f"## {escaped(section.title)}", *_told(section)]
        for plot in section.plots:
            images.append(f"[plot-{len(images) + 1}]: {png(plot)}")
            parts.append(
                f"**{escaped(plot.title)}**\n\n![{escaped(plot.title)}][plot-{len(images)}]"
            )
    return "\n\n".join([*parts, *images]) + "\n"


def section_markdown(section: Section) -> str:
    """A section alone, its images in their places."""
    plots = (f"**{escaped(plot.title)}**\n\n{markdown_image(plot)}" for plot in section.plots)
    return "\n\n".join([*_told(section), *plots])


def _told(section: Section) -> Iterator[str]:
    if section.intro:
        yield escaped(section.intro)
    for table in section.tables:
        yield f"### {escaped(table.title)}"
        yield markdown_table(table)
        if table.note:
            yield f"*{escaped(table.note)}*"


def markdown_table(table: Table) -> str:
    """Words to the left, figures to the right; marked rows are bold."""
    rule = ["---" if n < table.text_columns else "---:" for n in range(len(table.columns))]
    lines = [_line(list(map(escaped, table.columns))), _line(rule)]
    for n, row in enumerate(table.rows):
        cells = list(map(escaped, row))
        lines.append(_line([f"**{cell}**" for cell in cells] if n in table.marked else cells))
    return "\n".join(lines)


def markdown_image(plot: Plot) -> str:
    """An image that holds its own bytes."""
    return f"![{escaped(plot.title)}]({png(plot)})"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def escaped(text: str) -> str:
    """Text on one line, no sign of which means anything in Markdown or HTML."""
    flat = " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text).split())
    return re.sub(r"([\\`*_\[\]<>#|!~&])", r"\\\1", flat)
