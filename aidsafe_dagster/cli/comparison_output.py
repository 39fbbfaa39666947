"""A comparison on the terminal: facts, tables, and changed rows side by side."""

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from aidsafe_dagster.cli.console import console, print_paragraph
from aidsafe_dagster.cli.failed_rows import visible
from aidsafe_dagster.cli.tryout_changes import piece_text, value_line, word_by_word
from aidsafe_dagster.comparisons.comparison import Comparison
from aidsafe_dagster.comparisons.report import build_report
from aidsafe_dagster.comparisons.rows import ChangedRow, TextSides
from aidsafe_dagster.reports.sections import Report, Section
from aidsafe_dagster.reports.sections import Table as ReportTable
from aidsafe_dagster.tryout.word_diff import Piece

_MOST_TEXTS = 3
"""Of a row; the page has all."""
_MOST_CHARACTERS = 1200
_WIDTH = 100


def print_comparison(comparison: Comparison, rows: Sequence[ChangedRow]) -> None:
    """Print all figures, and some of the changed rows."""
    report = build_report(comparison)
    _print_head(report)
    for section in report.sections:
        _print_section(section)
        if section is report.sections[0]:
            _print_policies(comparison)
    _print_rows(comparison, rows)


def _print_head(report: Report) -> None:
    if report.simulation_warning:
        console.print(Text(report.simulation_warning, style="bold yellow"))
    for name, fact in report.facts.items():
        print_paragraph(f"{name}: {visible(fact)}")
    figures = []
    for headline in report.headlines:
        detail = f" {headline.detail}" if headline.detail else ""
        figures.append(f"{headline.value}{detail} {headline.label}")
    print_paragraph(f"In short: {'; '.join(figures)}.")


def _print_section(section: Section) -> None:
    console.print(Rule(Text(section.title, style="bold"), align="left", style="cyan"))
    if section.intro:
        print_paragraph(visible(section.intro))
    for table in section.tables:
        console.print(_table(table))
        if table.note:
            print_paragraph(table.note)


def _table(table: ReportTable) -> Table:
    shown = Table(title=table.title, title_justify="left", box=SIMPLE_HEAD)
    shown.title_style = "italic"
    for place, column in enumerate(table.columns):
        is_text = place < table.text_columns
        shown.add_column(
            column,
            justify="left" if is_text else "right",
            overflow="fold",
            # Words may be broken, and figures not.
            no_wrap=not is_text and column != table.columns[-1],
        )
    for place, row in enumerate(table.rows):
        style = "bold" if place in table.marked else ""
        shown.add_row(*(Text(visible(cell), style=style) for cell in row))
    return shown


def _print_policies(comparison: Comparison) -> None:
    for text in comparison.changed_policies:
        if text.is_whole_policy:
            # The table above says that it was added or removed, and the page has its text.
            continue
        line = Text(f"{visible(text.title)}: ", style="bold cyan")
        console.print(Text().append_text(line).append_text(word_by_word(text)))


def _print_rows(comparison: Comparison, rows: Sequence[ChangedRow]) -> None:
    if not rows:
        return
    total = len(comparison.changed)
    title = f"Rows side by side: {len(rows)} of {total:,} that came out otherwise"
    console.print(Rule(Text(title, style="bold"), align="left", style="cyan"))
    print_paragraph(
        "Other ends first, then other refusals, then the largest change of score. "
        "[-words of A alone-], {+words of B alone+}."
    )
    for number, row in enumerate(rows, start=1):
        console.print(_row(row, number))


def _row(row: ChangedRow, number: int) -> RenderableType:
    parts = [str(number), row.prompt_id, row.kind, ", ".join(row.changed)]
    heading = Text(" · ".join(part for part in parts if part), style="bold")
    body: list[RenderableType] = [Text(), heading]
    body.append(Text(_cut(visible(row.prompt)), style="dim"))
    body += [value_line(value) for value in row.values if value.name != "belief"]
    texts = [text for text in row.texts if not text.is_written_to_be_harmful]
    body += [_sides(text) for text in texts[:_MOST_TEXTS]]
    more = [text.title for text in texts[_MOST_TEXTS:]]
    more += [text.title for text in row.texts if text.is_written_to_be_harmful]
    if more:
        body.append(Text(f"Also changed, on the page: {', '.join(more)}", style="dim"))
    return Group(*body)


def _sides(text: TextSides) -> Table:
    table = Table(box=SIMPLE_HEAD, expand=True, width=min(console.width, _WIDTH))
    for side in ("A", "B"):
        table.add_column(f"{side}: {text.title}", ratio=1, overflow="fold")
    table.add_row(_joined(text.a), _joined(text.b))
    return table


def _joined(pieces: Iterable[Piece]) -> Text:
    pieces = list(pieces)
    if not pieces:
        return Text("none", style="dim")
    text = Text()
    for index, piece in enumerate(pieces):
        is_last = index == len(pieces) - 1
        text.append_text(piece_text(piece, is_first=index == 0, is_last=is_last))
    if len(text) > _MOST_CHARACTERS:
        text.truncate(_MOST_CHARACTERS)
        text.append(" …")
    return text


def _cut(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:300]} …"
