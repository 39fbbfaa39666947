"""The selection as a section of a report."""

from collections.abc import Sequence

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.quality.statistics import Estimate
from aidsafe_dagster.reports.sections import (
    EMPTY_CELL,
    Section,
    Table,
    format_count,
    format_estimate,
    format_number,
    format_share,
)
from aidsafe_dagster.selection.records import (
    SelectionFacts,
    SelectionRow,
    SideFigures,
    Status,
)
from aidsafe_dagster.selection.store import StoredSelection, read_selection

TITLE = "The best rows"
_EXAMPLES = 8
"""Rows of each status that are shown with their reason."""
_STATUS_TITLES: dict[Status, str] = {
    "chosen": "The first chosen rows",
    "same_meaning": "Rows that mean the same as a chosen one",
    "surplus": "Rows that stood back for others",
    "below_floor": "Rows below the floor",
    "no_share": "Rows without a share",
}


def selection_sections(lake: Lake) -> list[Section]:
    """Return the section of the selection in force; none without one.

    Raises:
        SetupError: its files are damaged.
    """
    selection = read_selection(lake)
    return [selection_section(selection)] if selection else []


def selection_section(selection: StoredSelection) -> Section:
    facts = selection.facts
    intro = (
        f"{format_count(facts.chosen)} rows of {format_count(facts.wanted)} wanted, from the train "
        f"split of {len(facts.batches)} batches. Meanings are told apart by {facts.meaning}; from "
        f"a cosine of {facts.threshold:g} on, two prompts of one kind count as the same. "
        f"Selection {facts.version}, seed {facts.seed}."
    )
    outdated = selection.why_outdated()
    if outdated:
        intro += f" It is outdated: {outdated}."
    tables = [accounts_table(facts), sides_table(facts), shares_table(facts)]
    for status, title in _STATUS_TITLES.items():
        rows = [row for row in selection.rows if row.status == status][:_EXAMPLES]
        if rows:
            tables.append(_reasons_table(title, rows))
    return Section(TITLE, intro, tables)


def accounts_table(facts: SelectionFacts) -> Table:
    """Where the prompts went: the first line is all of them, and the others add up to it."""
    total = facts.accounts[0].rows
    rows = []
    for account in facts.accounts:
        # What did not happen is not worth a line, but that nothing was chosen is.
        if account.rows or account.what == "chosen":
            share = format_share(account.rows, total)
            rows.append((account.what, format_count(account.rows), share))
    return Table("Where the prompts went", ("", "rows", "share"), tuple(rows))


def sides_table(facts: SelectionFacts) -> Table:
    columns = ("", *(side.name for side in facts.sides))
    lines = {
        "rows": [format_count(side.rows) for side in facts.sides],
        "score (1–5)": [_quality(side) for side in facts.sides],
        "below the floor": [format_count(side.below_floor) for side in facts.sides],
        "difficulty (0–1)": [_difficulty(side) for side in facts.sides],
        "neighbourhoods": [format_count(side.neighbourhoods) for side in facts.sides],
        "same meaning": [_same_meaning(side) for side in facts.sides],
        "off the shares": [f"{100 * side.off_shares:.1f} %" for side in facts.sides],
    }
    note = (
        "Means with 95 % intervals. The random draw has as many rows, from all rows of the train "
        "split. Neighbourhoods: groups of prompts that ask alike, of which a row is in. Same "
        "meaning: rows that mean the same as another one there. Off the shares: rows to exchange "
        "for the shares as set."
    )
    rows = tuple((name, *cells) for name, cells in lines.items())
    return Table("Beside a random draw", columns, rows, note)


def shares_table(facts: SelectionFacts) -> Table:
    rows = []
    dimension = ""
    for line in facts.shares:
        counts = (
            format_count(line.eligible),
            format_number(line.due, 0),
            format_count(line.chosen),
            format_count(line.drawn),
        )
        # Named once, where its values begin.
        heading = line.dimension if line.dimension != dimension else ""
        dimension = line.dimension
        rows.append((heading, line.value, *counts))
    return Table(
        "What was taken",
        ("by", "value", "eligible", "due", "chosen", "random"),
        tuple(rows),
        "A row counts under the rarest of its policies. Eligible: above the floor. Due: by "
        "[selection.balance], as far as there are rows.",
        text_columns=2,
    )


def _reasons_table(title: str, rows: Sequence[SelectionRow]) -> Table:
    lines = tuple((row.prompt_id, row.why) for row in rows)
    return Table(title, ("prompt", "why"), lines, text_columns=2)


def _quality(side: SideFigures) -> str:
    return _estimate(side.quality, side.quality_low, side.quality_high, side.rows)


def _difficulty(side: SideFigures) -> str:
    return _estimate(
        side.difficulty, side.difficulty_low, side.difficulty_high, side.rows
    )


def _estimate(
    value: float | None, low: float | None, high: float | None, rows: int
) -> str:
    if value is None:
        return EMPTY_CELL
    return format_estimate(Estimate(value, low, high, rows))


def _same_meaning(side: SideFigures) -> str:
    return EMPTY_CELL if side.same_meaning is None else format_count(side.same_meaning)
