"""The coverage tables: prompts by rule and by category, and their kinds; also before and after."""

import json
from collections.abc import Mapping
from typing import Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from aidsafe_dagster.cli.console import console, listing, print_paragraph, quantity
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.prompt_work.coverage import (
    KINDS,
    Cell,
    Coverage,
    Subject,
    measure_coverage,
)
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.stages.failed_answers import visible

_NO_CATEGORY = "(none)"
_MOST_CATEGORIES = 30


def show_coverage(target: int | None, *, as_json: bool) -> None:
    """Print what the prompts of the dataset cover.

    Raises:
        SetupError: policies or rows cannot be read.
    """
    settings = load_settings().settings
    target = target or settings.grow.target
    coverage = measure_coverage(
        Lake(settings.lake), settings.load_policies(), settings.engine
    )
    if as_json:
        typer.echo(json.dumps({"target": target} | coverage_values(coverage)))
        return
    print_coverage(coverage, coverage, target)
    if any(lacking(coverage, target).values()):
        print_paragraph("New prompts where it is thin: `aidsafe prompts grow`.")


def print_coverage(before: Coverage, after: Coverage, target: int) -> None:
    """Print the tables; of what is not as before, both numbers."""
    print_measure(after)
    console.print(_rule_table(before, after, target), highlight=False)
    if after.categories:
        console.print(_category_table(before, after), highlight=False)
    if len(after.categories) > _MOST_CATEGORIES:
        print_paragraph(
            f"{len(after.categories) - _MOST_CATEGORIES} further categories: `--json`."
        )
    untouched = after.untouched_rules
    if untouched:
        print_paragraph(f"No prompt is known to touch {listing(untouched)}.")
    thin = sum(1 for missing in lacking(after, target).values() if missing)
    if thin:
        print_paragraph(
            f"{quantity(thin, 'rule')} with fewer than {quantity(target, 'prompt')} of some kind."
        )


def print_measure(coverage: Coverage) -> None:
    """Say what the tables are made from."""
    print_paragraph(f"{quantity(len(coverage.prompts), 'prompt')} in the dataset.")
    if coverage.made:
        rows = "rows (REHEARSAL)" if coverage.simulated else "rows"
        print_paragraph(
            f"{coverage.made:,} made: kind and rules by what their {rows} say and cite.",
            2,
        )
    if coverage.not_made:
        known = "the category alone is known."
        if any(not (one.is_made or one.is_found) for one in coverage.prompts):
            known = (
                "kind and rules are those that they were grown for; of the others "
                f"{known}"
            )
        print_paragraph(f"{coverage.not_made:,} not made yet: {known}", 2)


def lacking(coverage: Coverage, target: int) -> dict[str, int]:
    """Return the prompts that each rule lacks, over all kinds."""
    missing = {}
    for rule in coverage.rules:
        missing[rule] = sum(
            max(0, target - coverage.counts.get(Cell("rule", rule, kind), 0))
            for kind in KINDS
        )
    return missing


def coverage_values(coverage: Coverage) -> dict[str, Any]:
    """Return what the tables say, as values of JSON."""
    rules: dict[str, Mapping[str, int]] = {}
    for rule in coverage.rules:
        values = _kind_values(coverage, "rule", rule)
        values["unknown"] = coverage.waiting_by_policy.get(rule.partition(".")[0], 0)
        rules[rule] = values
    categories: dict[str, Mapping[str, int]] = {}
    for category in coverage.categories:
        values = _kind_values(coverage, "category", category)
        values["unknown"] = coverage.waiting.get(category, 0)
        categories[category] = values
    return {
        "prompts": len(coverage.prompts),
        "made": coverage.made,
        "simulated": coverage.simulated,
        "rules": rules,
        "categories": categories,
        "untouched": list(coverage.untouched_rules),
    }


def _kind_values(coverage: Coverage, subject: Subject, name: str) -> dict[str, int]:
    return {kind: coverage.counts.get(Cell(subject, name, kind), 0) for kind in KINDS}


def _rule_table(before: Coverage, after: Coverage, target: int) -> Table:
    table = _table("Prompts that touch each rule")
    table.add_column("rule", overflow="fold")
    for kind in KINDS:
        table.add_column(kind, justify="right")
    # Of a category of the rule's policy: more is not known before they are made.
    table.add_column("unknown", justify="right")
    table.add_column("")
    for rule in after.rules:
        counts = [_counts(before, after, Cell("rule", rule, kind)) for kind in KINDS]
        cells = [_change(*count, target) for count in counts]
        policy = rule.partition(".")[0]
        waiting = [one.waiting_by_policy.get(policy, 0) for one in (before, after)]
        remark = ""
        if not any(count for _, count in counts):
            remark = "none known" if waiting[1] else "no prompt"
        elif any(count < target for _, count in counts):
            remark = "thin"
        style = "bold red" if remark.startswith("no") else ""
        table.add_row(Text(rule), *cells, _change(*waiting), Text(remark, style=style))
    return table


def _category_table(before: Coverage, after: Coverage) -> Table:
    table = _table("Prompts of each category")
    table.add_column("category", overflow="fold")
    for kind in KINDS:
        table.add_column(kind, justify="right")
    table.add_column("unknown", justify="right")
    for category in after.categories[:_MOST_CATEGORIES]:
        cells = []
        for kind in KINDS:
            count = _counts(before, after, Cell("category", category, kind))
            cells.append(_change(*count))
        waiting = (before.waiting.get(category, 0), after.waiting.get(category, 0))
        table.add_row(
            Text(visible(category) or _NO_CATEGORY), *cells, _change(*waiting)
        )
    return table


def _table(title: str) -> Table:
    # Ids of rules are long, and a box of lines would break them at 80 columns.
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )


def _counts(before: Coverage, after: Coverage, cell: Cell) -> tuple[int, int]:
    return before.counts.get(cell, 0), after.counts.get(cell, 0)


def _change(before: int, after: int, target: int = 0) -> Text:
    words = f"{after:,}" if before == after else f"{before:,} → {after:,}"
    return Text(words, style="yellow" if after < target else "")
