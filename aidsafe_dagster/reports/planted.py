"""Section: how well the pipeline found what the rehearsal engine had planted. Only a rehearsal has a planted truth."""

from collections.abc import Mapping, Sequence

from aidsafe_dagster.reports.sections import EMPTY_CELL, Section, Table, format_count, format_number

TITLE = "Planted truth"


def planted_section(lines: Sequence[Mapping[str, object]]) -> Section:
    """A row per line; the columns are the keys, in the order in which they first appear."""
    columns = tuple(dict.fromkeys(key for line in lines for key in line))
    words = sum(all(isinstance(line.get(column, ""), str) for line in lines) for column in columns)
    rows = tuple(tuple(_cell(line.get(column)) for column in columns) for line in lines)
    intro = "The rehearsal engine plants faults at known rates; here is how many of them the pipeline told from the rest."
    table = Table(
        "What was planted, and what was found",
        tuple(c.replace("_", " ") for c in columns),
        rows,
        text_columns=words,
    )
    return Section(TITLE, intro, [table])


def _cell(value: object) -> str:
    if value is None:
        return EMPTY_CELL
    if isinstance(value, float):
        return format_number(value)
    return format_count(value) if isinstance(value, int) else str(value)
