"""The work of `aidsafe policy report`: measure, print, and write the page."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from aidsafe_dagster.cli.chosen_batches import choose_batches
from aidsafe_dagster.cli.console import console, print_paragraph, print_plain
from aidsafe_dagster.cli.project_folder import shown
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.primitives.atomic_write import write_text
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.reports.frames import open_dataset
from aidsafe_dagster.reports.html import to_html
from aidsafe_dagster.reports.markdown import to_markdown
from aidsafe_dagster.reports.policy_report import POLICY_REPORT, build_policy_report
from aidsafe_dagster.reports.sections import Report, Section, Table
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.sources.tables import INGESTED
from aidsafe_dagster.stages.failed_answers import visible

OWN_ROWS_URL = "http://127.0.0.1:3100"
"""As in `stages/row_links.py`, which imports Dagster."""
_SHORTEST_ID = 6


def print_policy_report(
    page: Path | None,
    *,
    as_json: bool,
    batches: Sequence[str] | None = None,
    sources: Sequence[str] | None = None,
) -> None:
    """Measure what the rows made of each rule, and show it.

    Args:
        page: where the page goes; None: among the reports.
        as_json: print JSON, and write a page only where `page` says so.
        batches: rows of these alone.
        sources: rows of the batches of these alone.

    Raises:
        SetupError: the policies or the rows cannot be read, or there are none; or there is no such
            batch or source.
    """
    settings = load_settings().settings
    policies = settings.load_policies()
    lake = Lake(settings.lake)
    known = lake.batches(INGESTED)
    chosen = choose_batches(known, batches, sources, "policy report")
    dataset = open_dataset(lake, chosen)
    if not dataset.batches_of(Stage.SEED_COTS):
        of_chosen = f" of {', '.join(chosen)}" if chosen else ""
        command = " ".join(["aidsafe backfill", *chosen])
        raise SetupError(
            f"{lake.root}: there are no rows{of_chosen} yet, so no rule has met a prompt; "
            f"`{command}` makes them"
        )
    # On a terminal it goes to the errors, so that JSON stays JSON.
    with Console(stderr=True).status("Reading the deliberations …"):
        url = settings.rows_url or OWN_ROWS_URL
        report = build_policy_report(dataset, policies, url)
    if chosen:
        facts = {"Only": ", ".join(chosen), **report.facts}
        report = replace(report, facts=facts)
    if as_json:
        typer.echo(json.dumps(_as_values(report)))
    else:
        ids = dataset.rows(Stage.PROMPTS, "prompt_id")["prompt_id"].to_list()
        _print_report(report, _short_ids(ids))
    if page or not as_json:
        where = _write_pages(report, page, settings)
        if not as_json:
            print_plain(f"The same as a page: {shown(where)}")


def _write_pages(report: Report, page: Path | None, settings: Settings) -> Path:
    html = page or settings.reports / "policy_report.html"
    write_text(html.with_suffix(".md"), to_markdown(report, POLICY_REPORT))
    return write_text(html, to_html(report, POLICY_REPORT))


def _print_report(report: Report, short_ids: Mapping[str, str]) -> None:
    if report.simulation_warning:
        console.print(Text(report.simulation_warning, style="bold yellow"))
    for name in ("Only", "Dataset", "Models", "Made under other policies", "Left out"):
        if name in report.facts:
            print_paragraph(f"{name}: {visible(report.facts[name])}")
    # Coverage by category is a wide table, and the page has it.
    section = report.sections[0]
    print_plain("")
    print_paragraph(section.intro)
    for table in section.tables:
        _print_table(table, short_ids)
    print_plain("")
    print_paragraph("A transcript: `aidsafe show ID`, or `aidsafe view ID`.")


def _print_table(table: Table, short_ids: Mapping[str, str]) -> None:
    """Print a line of figures for each row, and below it what it says and what to read."""
    console.print()
    title = Text(table.title, style="bold")
    console.print(Rule(title, align="left", style="cyan"))
    for place, row in enumerate(table.rows):
        figures = []
        columns = table.columns[table.text_columns :]
        for column, cell in zip(columns, row[table.text_columns :], strict=True):
            figures.append(f"{column} {cell}")
        line = (
            f"{visible(row[0])}: {', '.join(figures)}" if figures else visible(row[0])
        )
        if place in table.marked:
            line = f"! {line}"
        print_paragraph(line)
        for cell in row[1 : table.text_columns]:
            print_paragraph(visible(cell), 4)
        if table.to_read and table.to_read[place]:
            ids = " ".join(short_ids.get(one, one) for one in table.to_read[place])
            print_paragraph(f"to read: {ids}", 4)
    if table.note:
        print_paragraph(table.note)


def _short_ids(ids: Collection[str]) -> dict[str, str]:
    """Return as much of each id as is unique among all of them."""
    ordered = sorted(set(ids))
    short = {}
    for place, prompt_id in enumerate(ordered):
        neighbours = (*ordered[max(0, place - 1) : place], *ordered[place + 1 :][:1])
        length = _SHORTEST_ID
        while any(other.startswith(prompt_id[:length]) for other in neighbours):
            length += 1
        short[prompt_id] = prompt_id[:length]
    return short


def _as_values(report: Report) -> dict[str, Any]:
    return {
        "simulated": bool(report.simulation_warning),
        "facts": dict(report.facts),
        "sections": [_section_values(section) for section in report.sections],
    }


def _section_values(section: Section) -> dict[str, Any]:
    tables = []
    for table in section.tables:
        rows = []
        for place, row in enumerate(table.rows):
            values: dict[str, Any] = dict(zip(table.columns, row, strict=True))
            if table.to_read:
                values["to_read"] = list(table.to_read[place])
            if table.marked:
                values["marked"] = place in table.marked
            rows.append(values)
        tables.append({"title": table.title, "rows": rows, "note": table.note})
    return {"title": section.title, "intro": section.intro, "tables": tables}
