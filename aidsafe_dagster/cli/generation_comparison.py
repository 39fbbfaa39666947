"""The work of `aidsafe generation compare`: two generations, on the terminal and as a page."""

import json
from dataclasses import replace
from pathlib import Path

import typer

from aidsafe_dagster.cli.comparison_output import print_head, print_section
from aidsafe_dagster.cli.console import print_plain
from aidsafe_dagster.cli.generation_project import load_project, settings_in
from aidsafe_dagster.cli.project_folder import shown
from aidsafe_dagster.comparisons.names import NOW, Names
from aidsafe_dagster.comparisons.page import comparison_page
from aidsafe_dagster.comparisons.rows import changed_rows
from aidsafe_dagster.generations.comparison import (
    ComparedGeneration,
    GenerationComparison,
)
from aidsafe_dagster.generations.comparison import (
    compare_generations as measure,
)
from aidsafe_dagster.generations.records import find_generation, read_generations
from aidsafe_dagster.generations.report import as_values, generation_report
from aidsafe_dagster.primitives.atomic_write import write_text
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.settings.load import Loaded

_PAGE = "generations.html"
_ROWS = 10


def compare_generations(
    a: int | None, b: int | None, *, page: Path | None, as_json: bool
) -> None:
    """Compare two generations of this project, and show what differs.

    Raises:
        SetupError: there are no two of them, or one of that number.
    """
    project = load_project()
    numbers = [one.number for one in read_generations(project.settings)]
    second = b or max((n for n in numbers if a is None or n != a), default=0)
    first = a or max((n for n in numbers if n < second), default=0)
    if not first or not second or first == second:
        raise SetupError(
            f"there are no two generations to compare yet; begun: {len(numbers)}. "
            "`aidsafe generation run` makes the next one"
        )
    if as_json:
        typer.echo(json.dumps(as_values(_measure(project, first, second))))
        return
    show_comparison(project, first, second, page)


def show_comparison(
    project: Loaded, first: int, second: int, page: Path | None = None
) -> None:
    """Print a comparison and write its page."""
    comparison = _measure(project, first, second)
    report = generation_report(comparison)
    print_head(report)
    for section in report.sections:
        print_section(section)
    settings = settings_in(project, second)
    rows = tuple(changed_rows(comparison.data, _ROWS, settings))
    path = page or settings.reports / _PAGE
    write_text(path, comparison_page(comparison.data, report, rows))
    print_plain(f"The same as a page, with rows side by side: {shown(path)}")


def _measure(project: Loaded, first: int, second: int) -> GenerationComparison:
    settings = project.settings
    return measure(
        _compared(project, first),
        _compared(project, second),
        seed=settings.seed,
        resamples=settings.report.resamples,
    )


def _compared(project: Loaded, number: int) -> ComparedGeneration:
    generation = find_generation(project.settings, number)
    settings = settings_in(project, number)
    side = Names(settings, project.file.parent).side(NOW)
    return ComparedGeneration(
        generation=generation,
        side=replace(side, name=f"generation {number}"),
        reports=settings.reports,
    )
