"""A comparison on the terminal: facts, tables, and changed rows side by side."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from aidsafe_dagster.cli.console import console, print_paragraph, quantity
from aidsafe_dagster.cli.tryout_changes import piece_text, value_line, word_by_word
from aidsafe_dagster.comparisons.comparison import Comparison
from aidsafe_dagster.comparisons.report import build_report
from aidsafe_dagster.comparisons.rows import ChangedRow, TextSides
from aidsafe_dagster.reports.sections import Report, Section
from aidsafe_dagster.reports.sections import Table as ReportTable
from aidsafe_dagster.stages.failed_answers import visible
from aidsafe_dagster.tryout.comparison import ChangedValue
from aidsafe_dagster.tryout.word_diff import Piece

_MOST_TEXTS = 3
_MOST_VALUES = 6
"""Of a row; the page has all."""
_MOST_CHARACTERS = 1200
_MOST_OF_PROMPT = 300
_WIDTH = 100


def print_comparison(comparison: Comparison, rows: Sequence[ChangedRow]) -> None:
    """Print all figures, and some of the changed rows."""
    report = build_report(comparison)
    print_head(report)
    for section in report.sections:
        print_section(section)
        if section is report.sections[0]:
            _print_texts(comparison)
    _print_rows(comparison, rows)


def print_head(report: Report) -> None:
    """Print the warning, the facts and the headlines of a report."""
    if report.simulation_warning:
        console.print(Text(report.simulation_warning, style="bold yellow"))
    for name, fact in report.facts.items():
        print_paragraph(f"{name}: {visible(fact)}")
    figures = []
    for headline in report.headlines:
        detail = f" {headline.detail}" if headline.detail else ""
        figures.append(f"{headline.value}{detail} {headline.label}")
    print_paragraph(f"In short: {'; '.join(figures)}.")


def print_section(section: Section) -> None:
    """Print a section of a report: its title, its words and its tables."""
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


def _print_texts(comparison: Comparison) -> None:
    # Of a whole policy, the table above says that it was added or removed; the page has its text.
    rules = [rule for rule in comparison.changed_policies if not rule.is_whole_policy]
    for text in (*rules, *comparison.changed_templates):
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
    body.append(Text(_cut(visible(row.prompt), _MOST_OF_PROMPT), style="dim"))
    values = [value for value in row.values if _is_telling(value)]
    body += [value_line(value) for value in values[:_MOST_VALUES]]
    texts = _texts_to_show(row)
    body += [_sides(text) for text in texts]
    others = [text.title for text in row.texts if text not in texts]
    more = [value.name for value in row.values if value not in values[:_MOST_VALUES]]
    if more or others:
        counts = ", ".join(_counted([*more, *others]))
        body.append(Text(f"Also changed, on the page: {counts}", style="dim"))
    return Group(*body)


def _is_telling(value: ChangedValue) -> bool:
    """Tell whether a value is worth a line. A verdict on a thought of one side alone is not."""
    if value.name == "belief":
        return False
    return not value.name.startswith("verdict") or "none" not in (
        value.before,
        value.after,
    )


def _texts_to_show(row: ChangedRow) -> list[TextSides]:
    final = [text for text in row.texts if text.is_final]
    # With nothing beside it, the response says enough.
    is_alone = bool(final) and not (final[0].a and final[0].b)
    return final[: 1 if is_alone else _MOST_TEXTS]


def _counted(titles: Iterable[str]) -> Iterator[str]:
    """Yield what the titles are of, with how many: '3 verdicts'."""
    counts = Counter(_stem(title) for title in titles)
    for stem, count in counts.items():
        yield stem if count == 1 else quantity(count, stem)


def _stem(title: str) -> str:
    """Return a title without its number and what it is on: 'final thought', 'verdict'."""
    stem = title.partition(" on thought ")[0].partition(" (")[0]
    return stem.rstrip("0123456789").strip()


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
    if len(pieces) == 1:
        return Text(_cut(visible(pieces[0].text), _MOST_CHARACTERS))
    text = Text()
    for index, piece in enumerate(pieces):
        is_last = index == len(pieces) - 1
        text.append_text(piece_text(piece, is_first=index == 0, is_last=is_last))
    if len(text) > _MOST_CHARACTERS:
        text.truncate(_MOST_CHARACTERS)
        text.append(" …")
    return text


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]} …"
