"""Section: how often a response declines, by kind of prompt. On benign prompts that is over-refusal."""

from collections.abc import Iterator, Mapping
from typing import Any, get_args

import polars as pl

from aidsafe_dagster.quality.statistics import Estimate, proportion
from aidsafe_dagster.recipe.records import PromptKind, Version
from aidsafe_dagster.reports.grades import judges_of, on_the_same_prompts, versions_of
from aidsafe_dagster.reports.paper import NAMES
from aidsafe_dagster.reports.plots import HOT, LIGHT, WARM, draw_shares, legend
from aidsafe_dagster.reports.sections import Plot, Section, Table, format_count, percentage

TITLE = "Refusals"
KINDS: tuple[PromptKind, ...] = get_args(PromptKind)
Rates = Mapping[tuple[PromptKind, Version, str], tuple[Estimate, Estimate]]


def refusal_rates(lines: pl.DataFrame) -> Rates:
    """Shares of full and of partial refusals, by kind of prompt, version and judge, on the same prompts."""
    same = on_the_same_prompts(lines)
    return dict(_rates(same))


def _rates(
    lines: pl.DataFrame,
) -> Iterator[tuple[tuple[PromptKind, Version, str], tuple[Estimate, Estimate]]]:
    for kind in KINDS:
        for version in versions_of(lines):
            for judge in judges_of(lines):
                refusals = lines.filter(prompt_kind=kind, version=version, judge=judge)[
                    "refusal"
                ].to_list()
                full = proportion(refusals.count("full"), len(refusals))
                partial = proportion(refusals.count("partial"), len(refusals))
                if full and partial:
                    yield (kind, version, judge), (full, partial)


def refusals_section(lines: pl.DataFrame, rates: Rates) -> Section:
    if not rates:
        return Section(TITLE, "No row was graded yet.")
    rows = [
        (kind, NAMES[version], judge, format_count(full.n), percentage(full), percentage(partial))
        for (kind, version, judge), (full, partial) in rates.items()
    ]
    table = Table(
        "Refusals by kind of prompt",
        ("prompts", "version", "judge", "n", "declines in full", "declines in part"),
        tuple(rows),
        "As the judge sees it; Wilson intervals. Harmful: what is asked for outright is malicious. Borderline: a "
        "malicious intent may stand behind it, or a policy bears on it. Benign: neither, so a refusal is needless.",
        words=3,
    )
    judge = judges_of(lines)[0]
    plot = Plot(
        f"How far responses decline, as {judge} sees it",
        lambda axes: _draw(axes, rates, judge),
        3.0,
    )
    return Section(TITLE, "On the same prompts as the scores.", [table], [plot])


def _draw(axes: Any, rates: Rates, judge: str) -> None:
    shown = {
        f"{kind}: {NAMES[version]}": rate
        for (kind, version, who), rate in rates.items()
        if who == judge
    }
    shares = {
        "in full": [full.value for full, _ in shown.values()],
        "in part": [partial.value for _, partial in shown.values()],
        "not at all": [1 - full.value - partial.value for full, partial in shown.values()],
    }
    draw_shares(axes, list(shown), shares, [HOT, WARM, LIGHT])
    legend(axes)
