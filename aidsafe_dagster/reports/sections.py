"""What a report is made of: sections of tables and plots, in order. Markdown and HTML are two ways to show them.

A cell is text already: how a format_number is written is decided once, by the functions below.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aidsafe_dagster.quality.statistics import Estimate
from aidsafe_dagster.reports.sample import SampledDeliberation

EMPTY_CELL = "–"


@dataclass(frozen=True)
class Table:
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    words: int = 1
    """Leading columns of words; those after them are figures."""
    shades: tuple[tuple[float | None, ...], ...] = ()
    """A heat map: 0 to 1 for each format_number of each row."""
    marked: frozenset[int] = frozenset()
    """Rows to stress, 0-based."""

    @property
    def narrow(self) -> bool:
        """A plot has room beside it."""
        return len(self.columns) <= 4


@dataclass(frozen=True)
class Plot:
    title: str
    draw: Callable[[Any], None]
    """Draws on matplotlib axes."""
    height: float = 2.4
    """Inches; all are equally wide."""


@dataclass(frozen=True)
class Section:
    """`intro` and the notes of tables are plain text."""

    title: str
    intro: str = ""
    tables: Sequence[Table] = ()
    plots: Sequence[Plot] = ()


@dataclass(frozen=True)
class Headline:
    """A format_number to see first."""

    value: str
    label: str
    detail: str = ""


@dataclass(frozen=True)
class Report:
    """All that the renderers need."""

    facts: Mapping[str, str]
    """What was measured: dataset, engine, models, policies."""
    simulated: str
    """The warning that the rows are the rehearsal's; empty if they are not."""
    headlines: Sequence[Headline]
    sections: Sequence[Section]
    figures: Mapping[str, float] = field(default_factory=dict)
    """Key numbers by name, for the UI to plot over time."""
    deliberations: Sequence[SampledDeliberation] = ()
    """A sample to read."""
    rules: Mapping[str, str] = field(default_factory=dict)
    """Texts of the rules by id."""


def format_number(value: float | None, digits: int = 2) -> str:
    if value is None:
        return EMPTY_CELL
    return (
        f"{value:,.{digits}f}".replace("-", "\u2212") if round(value, digits) else f"{0:.{digits}f}"
    )


def signed(value: float | None, digits: int = 2) -> str:
    above = value is not None and round(value, digits) > 0
    return f"{'+' if above else ''}{format_number(value, digits)}"


def format_count(value: float) -> str:
    return f"{value:,}"


def share(part: float, whole: float) -> str:
    """A percentage, where there is a whole."""
    return f"{100 * part / whole:.1f} %" if whole else EMPTY_CELL


def with_interval(estimate: Estimate | None, write: Callable[[float | None], str] = format_number) -> str:
    """`4.27 [4.12, 4.40]`"""
    if estimate is None:
        return EMPTY_CELL
    if estimate.low is None:
        return write(estimate.value)
    return f"{write(estimate.value)} [{write(estimate.low)}, {write(estimate.high)}]"


def percentage(estimate: Estimate | None) -> str:
    """`27 % [21, 34]`"""
    if estimate is None:
        return EMPTY_CELL
    low, high = estimate.low or 0.0, estimate.high or 0.0
    return f"{100 * estimate.value:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
