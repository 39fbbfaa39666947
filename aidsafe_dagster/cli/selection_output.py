"""What `aidsafe select` prints: where the prompts went, what was taken, and why."""

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table as TerminalTable

from aidsafe_dagster.cli.console import REHEARSAL, console, print_paragraph
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.reports.sections import Table
from aidsafe_dagster.selection.records import SelectionFacts
from aidsafe_dagster.selection.section import (
    accounts_table,
    shares_table,
    sides_table,
)
from aidsafe_dagster.selection.store import NO_SELECTION, read_selection
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.viewer.prompt_ids import find_prompt


def print_selection() -> None:
    """Print the selection in force.

    Raises:
        SetupError: there is none.
    """
    selection = read_selection(Lake(load_settings().settings.lake))
    if selection is None:
        raise SetupError(NO_SELECTION)
    facts = selection.facts
    if facts.simulated:
        console.print(REHEARSAL)
    for table in (accounts_table(facts), shares_table(facts), sides_table(facts)):
        console.print(_terminal_table(table))
    print_paragraph(
        f"Selection {facts.version}: {facts.chosen:,} of {facts.wanted:,} rows wanted; meanings "
        f"by {facts.meaning}."
    )
    shortage = _shortage(facts)
    if shortage:
        print_paragraph(shortage)


def explain(prompt_id: str) -> None:
    """Print what became of one prompt in the selection in force.

    Raises:
        SetupError: there is no selection, or no such prompt.
    """
    lake = Lake(load_settings().settings.lake)
    selection = read_selection(lake)
    if selection is None:
        raise SetupError(NO_SELECTION)
    place_in_lake = find_prompt(lake, prompt_id)
    found, batch = place_in_lake.prompt_id, place_in_lake.batch
    outdated = selection.why_outdated()
    if outdated:
        print_paragraph(f"The selection is outdated: {outdated}.")
    for row in selection.rows:
        if row.prompt_id == found:
            place = f"chosen, number {row.rank}" if row.rank else "not chosen"
            print_paragraph(f"{found}: {place}: {row.why}")
            return
    if batch not in selection.batches:
        raise SetupError(f"{found}: its batch {batch} is not part of the selection")
    print_paragraph(
        f"{found}: not chosen: it has no SFT row in the train split (`aidsafe show {found}`)"
    )


def _shortage(facts: SelectionFacts) -> str:
    """Return why there are fewer rows than wanted; empty if there are enough."""
    if facts.chosen >= facts.wanted:
        return ""
    rows = {account.what: account.rows for account in facts.accounts}
    reasons = [
        f"{count:,} {what}"
        for what, count in rows.items()
        if count and what not in ("chosen", facts.accounts[0].what)
    ]
    return f"Fewer than wanted, as no other row is left: {', '.join(reasons)}."


def _terminal_table(table: Table) -> TerminalTable:
    columns = [escape(column) for column in table.columns]
    shown = TerminalTable(
        *columns,
        title=table.title,
        title_justify="left",
        caption=escape(table.note) or None,
        caption_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    for position, column in enumerate(shown.columns):
        if position < table.text_columns:
            # A name that is cut off cannot be copied.
            column.overflow = "fold"
        else:
            column.justify = "right"
            column.no_wrap = True
    for row in table.rows:
        shown.add_row(*map(escape, row))
    return shown
