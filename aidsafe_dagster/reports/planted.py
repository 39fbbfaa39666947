"""Section: how much of what the rehearsal engine planted the pipeline found."""

from collections.abc import Mapping, Sequence

from aidsafe_dagster.reports.sections import (
    EMPTY_CELL,
    Section,
    Table,
    format_count,
    format_number,
)

TITLE = "Planted truth"
INTRO = (
    "The rehearsal engine plants faults at known rates and writes them down. "
    "This is how many of them the pipeline told from the rest."
)
NOT_RECORDED = "not recorded"

ConfusionLine = dict[str, object]
"""A line of the table, by column."""


def confusion_line(
    what: str, fault: str, pairs: Sequence[tuple[bool, bool]]
) -> ConfusionLine:
    """Return a line from (planted, found) of everything that was looked at.

    `precision`, `recall` and `false_alarm_rate` (the share of what was sound and found fault with)
    are from 0 to 1; None where there is nothing to divide by.
    """
    planted = sum(is_planted for is_planted, _ in pairs)
    found = sum(is_found for _, is_found in pairs)
    both = sum(is_planted and is_found for is_planted, is_found in pairs)
    return {
        "what": what,
        "fault": str(fault),
        "planted": planted,
        "found": found,
        "true_positives": both,
        "precision": _share(both, found),
        "recall": _share(both, planted),
        "false_alarm_rate": _share(found - both, len(pairs) - planted),
    }


def unrecorded_line(stage: str, rows: int) -> ConfusionLine:
    """Return a line that counts rows without a record of what was planted in them.

    An older release made them, or other settings of the rehearsal, or the file of records is lost.
    They are in no other line.
    """
    return {
        "what": f"{stage}: rows left out",
        "fault": NOT_RECORDED,
        "planted": None,
        "found": rows,
        "true_positives": None,
        "precision": None,
        "recall": None,
        "false_alarm_rate": None,
    }


def planted_section(lines: Sequence[Mapping[str, object]]) -> Section:
    """Return a table of the lines; its columns are the keys of the first line."""
    # Names and faults lead each line as text; all columns after them are figures.
    columns = tuple(lines[0])
    words = sum(isinstance(value, str) for value in lines[0].values())
    rows = []
    for line in lines:
        cells = [_cell(line[column]) for column in columns]
        rows.append(tuple(cells))
    table = Table(
        "What was planted, and what was found",
        tuple(column.replace("_", " ") for column in columns),
        tuple(rows),
        text_columns=words,
    )
    return Section(TITLE, _intro(lines), [table])


def _intro(lines: Sequence[Mapping[str, object]]) -> str:
    unrecorded = 0
    for line in lines:
        if line["fault"] == NOT_RECORDED:
            unrecorded += int(str(line["found"]))
    if not unrecorded:
        return INTRO
    rows = format_count(unrecorded)
    return (
        f"{INTRO} What was planted in {rows} rows was not recorded: an older release or other "
        "rehearsal settings made them, or the record is lost. No other line counts them."
    )


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _cell(value: object) -> str:
    if value is None:
        return EMPTY_CELL
    if isinstance(value, float):
        return format_number(value)
    if isinstance(value, int):
        return format_count(value)
    return str(value)
