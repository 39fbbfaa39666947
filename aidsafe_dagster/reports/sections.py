"""The parts of a report: sections of tables and plots, in order. Markdown and HTML render them.

Cells hold text. The `format_` functions below decide once how each kind of figure is written.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aidsafe_dagster.quality.statistics import Estimate
from aidsafe_dagster.reports.sample import SampledDeliberation

EMPTY_CELL = "–"
TO_READ = "to read"
"""Heading of the prompts of `Table.to_read`."""
_MINUS = "\u2212"


@dataclass(frozen=True)
class Table:
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    text_columns: int = 1
    """Number of leading columns that hold words. The columns after them hold figures."""
    shades: tuple[tuple[float | None, ...], ...] = ()
    """Makes the table a heat map: a value from 0 to 1 for each figure of each row."""
    marked: frozenset[int] = frozenset()
    """Rows to highlight, 0-based."""
    to_read: tuple[tuple[str, ...], ...] = ()
    """Ids of the prompts to read for each row, as its last cell; empty: there is no such cell."""

    @property
    def is_narrow(self) -> bool:
        """Return whether a plot fits beside the table."""
        return len(self.columns) <= 4


@dataclass(frozen=True)
class Plot:
    title: str
    draw: Callable[[Any], None]
    """Draws on matplotlib axes."""
    height: float = 2.4
    """In inches. All plots have the same width."""


@dataclass(frozen=True)
class Section:
    """One section of a report. `intro` and the notes of tables are plain text."""

    title: str
    intro: str = ""
    tables: Sequence[Table] = ()
    plots: Sequence[Plot] = ()


@dataclass(frozen=True)
class Headline:
    """A figure at the top of the report."""

    value: str
    label: str
    detail: str = ""


@dataclass(frozen=True)
class Report:
    """Everything that the renderers need."""

    facts: Mapping[str, str]
    """What was measured: dataset, engine, models, policies."""
    simulation_warning: str
    """Warns that the rehearsal engine made the rows. Empty if a model made them."""
    headlines: Sequence[Headline]
    sections: Sequence[Section]
    figures: Mapping[str, float] = field(default_factory=dict)
    """Key numbers by name. The UI plots them over time."""
    deliberations: Sequence[SampledDeliberation] = ()
    """A sample of deliberations to read."""
    rules: Mapping[str, str] = field(default_factory=dict)
    """Rule id → text of the rule."""
    rows_url: str = ""
    """Where all rows can be read, without a slash at the end; empty: nowhere that is known."""


def format_number(value: float | None, digits: int = 2) -> str:
    """Return a number with thousands separators and a typographic minus sign."""
    if value is None:
        return EMPTY_CELL
    # Otherwise -0.001 would read "−0.00".
    if not round(value, digits):
        return f"{0:.{digits}f}"
    return f"{value:,.{digits}f}".replace("-", _MINUS)


def format_signed(value: float | None, digits: int = 2) -> str:
    """Return a number with its sign, also where it is positive."""
    number = format_number(value, digits)
    # By the rounded value: 0.001 would read "+0.00".
    is_positive = value is not None and round(value, digits) > 0
    return f"+{number}" if is_positive else number


def format_count(value: float) -> str:
    return f"{value:,}"


def format_quantity(n: int, singular: str, plural: str) -> str:
    """Return a count with its noun, such as `1 batch` or `1,204 batches`."""
    noun = singular if n == 1 else plural
    return f"{format_count(n)} {noun}"


def format_share(part: float, whole: float) -> str:
    """Return a percentage, or an empty cell if the whole is 0."""
    if not whole:
        return EMPTY_CELL
    return f"{100 * part / whole:.1f} %"


def format_estimate(
    estimate: Estimate | None, write: Callable[[float | None], str] = format_number
) -> str:
    """Return an estimate with its interval, such as `4.27 [4.12, 4.40]`."""
    if estimate is None:
        return EMPTY_CELL
    if estimate.low is None:
        return write(estimate.value)
    low = write(estimate.low)
    high = write(estimate.high)
    return f"{write(estimate.value)} [{low}, {high}]"


def format_percentage(estimate: Estimate | None) -> str:
    """Return a share with its interval, such as `27.0 % [21.3, 34.1]`."""
    if estimate is None:
        return EMPTY_CELL
    value = 100 * estimate.value
    low = 100 * (estimate.low or 0.0)
    high = 100 * (estimate.high or 0.0)
    return f"{value:.1f} % [{low:.1f}, {high:.1f}]"
