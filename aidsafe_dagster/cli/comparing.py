"""The work of `aidsafe compare`: find the two sides, measure, and show it."""

import json
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console

from aidsafe_dagster.cli.comparison_output import print_comparison
from aidsafe_dagster.cli.console import print_plain
from aidsafe_dagster.cli.listed_versions import print_states
from aidsafe_dagster.cli.project_folder import called_from, shown
from aidsafe_dagster.comparisons.comparison import Comparison, compare
from aidsafe_dagster.comparisons.figures import as_values
from aidsafe_dagster.comparisons.names import BEFORE, NOW, Names
from aidsafe_dagster.comparisons.page import comparison_page
from aidsafe_dagster.comparisons.report import build_report
from aidsafe_dagster.comparisons.rows import ChangedRow, changed_rows
from aidsafe_dagster.primitives.atomic_write import write_text
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.tryout.store import LAST

_PAGE = "comparison.html"


@dataclass(frozen=True)
class Request:
    """What a person asked to compare."""

    a: str | None
    b: str | None
    only: tuple[str, ...]
    """Batches and sources; empty: all."""
    rows: int
    page: Path | None
    as_json: bool


def run_comparison(request: Request) -> None:
    """Compare two sides, and show what differs.

    Raises:
        SetupError: a name means nothing, the sides have no prompt in common, or a file cannot be
            read.
    """
    settings = load_settings().settings
    names = Names(settings, called_from())
    first, second = _sides(request, names)
    a = names.side(first, request.only)
    b = names.side(second, request.only)
    # On a terminal it goes to the errors, so that JSON stays JSON.
    with Console(stderr=True).status("Comparing …"):
        comparison = compare(
            a, b, seed=settings.seed, resamples=settings.report.resamples
        )
        rows = tuple(changed_rows(comparison, request.rows, settings))
    if request.as_json:
        typer.echo(json.dumps(as_values(comparison, rows)))
    else:
        print_comparison(comparison, rows)
    if request.page or not request.as_json:
        page = _write_page(comparison, rows, request.page, settings)
        if not request.as_json:
            print_plain(f"The same as a page: {shown(page)}")


def _sides(request: Request, names: Names) -> tuple[str, str]:
    if request.a:
        return request.a, request.b or NOW
    if any(state.before for state in names.states):
        return BEFORE, NOW
    _print_choices(names)
    raise SetupError(
        "nothing is kept of what the batches were before, so there is nothing to compare yet. "
        "A batch is kept when it is made again under another recipe; see above for what else "
        "has a name"
    )


def _print_choices(names: Names) -> None:
    """Print what may be compared."""
    if names.states:
        print_states(names.states)
    if names.batches:
        print_plain(f"Batches: {', '.join(names.batches)}")
    if names.tryouts:
        print_plain(f"Tryouts: {', '.join(names.tryouts)}")
        print_plain(f"  `aidsafe compare {names.tryouts[-1]} {NOW}`, or '{LAST}'")
    print_plain("Other projects, by their folder: `aidsafe compare FOLDER now`")


def _write_page(
    comparison: Comparison,
    rows: tuple[ChangedRow, ...],
    page: Path | None,
    settings: Settings,
) -> Path:
    text = comparison_page(comparison, build_report(comparison), rows)
    return write_text(page or settings.reports / _PAGE, text)
