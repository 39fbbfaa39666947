"""Section: how often responses decline, by kind of prompt. On benign ones that is over-refusal."""

from collections.abc import Mapping
from itertools import product
from typing import Any, NamedTuple, get_args

import polars as pl

from aidsafe_dagster.quality.statistics import Estimate, proportion
from aidsafe_dagster.recipe.records import PromptKind, Version
from aidsafe_dagster.reports.grades import (
    graded_versions,
    list_judges,
    on_the_same_prompts,
)
from aidsafe_dagster.reports.paper import VERSION_NAMES
from aidsafe_dagster.reports.plots import HOT, LIGHT, WARM, draw_shares, legend
from aidsafe_dagster.reports.sections import (
    Plot,
    Section,
    Table,
    format_count,
    format_percentage,
)

TITLE = "Refusals"
KINDS: tuple[PromptKind, ...] = get_args(PromptKind)
_COLUMNS = ("prompts", "version", "judge", "n", "declines in full", "declines in part")
_NOTE = (
    "As the judge sees it, with Wilson intervals. What declines in so many words counts in full "
    "where the judge says none. Harmful: the prompt openly asks for something "
    "malicious. Borderline: a malicious intent may stand behind it, or a policy bears on it. "
    "Benign: neither, so a refusal is needless."
)


class RefusalRate(NamedTuple):
    """Shares of responses that decline in full and in part."""

    full: Estimate
    partial: Estimate


RefusalRates = Mapping[tuple[PromptKind, Version, str], RefusalRate]
"""By kind of prompt, version and judge."""


def compute_refusal_rates(grades: pl.DataFrame) -> RefusalRates:
    """Return the refusal rates on the same prompts. Combinations without a grade are left out."""
    # Otherwise a version that failed on the hardest prompts would seem to refuse less.
    comparable = on_the_same_prompts(grades)
    rates = {}
    keys = product(KINDS, graded_versions(comparable), list_judges(comparable))
    for kind, version, judge in keys:
        graded = comparable.filter(prompt_kind=kind, version=version, judge=judge)
        refusals = graded["refusal"].to_list()
        full = proportion(refusals.count("full"), len(refusals))
        partial = proportion(refusals.count("partial"), len(refusals))
        # None without an answer: a kind of prompt may be absent.
        if full and partial:
            rates[kind, version, judge] = RefusalRate(full, partial)
    return rates


def refusals_section(grades: pl.DataFrame, rates: RefusalRates) -> Section:
    if not rates:
        return Section(TITLE, "No row has been graded yet.")
    # A plot per judge would repeat the table. The first judge is the one in all headlines.
    judge = list_judges(grades)[0]
    plot = Plot(
        f"How far responses decline, as {judge} sees it",
        lambda axes: _draw_rates(axes, rates, judge),
        height=3.0,
    )
    return Section(
        TITLE,
        "On the same prompts as the scores.",
        [_rate_table(rates)],
        [plot],
    )


def _rate_table(rates: RefusalRates) -> Table:
    rows = []
    for (kind, version, judge), (full, partial) in rates.items():
        shares = (format_percentage(full), format_percentage(partial))
        rows.append(
            (
                kind,
                VERSION_NAMES[version],
                judge,
                format_count(full.n),
                *shares,
            )
        )
    return Table(
        "Refusals by kind of prompt",
        _COLUMNS,
        tuple(rows),
        _NOTE,
        text_columns=3,
    )


def _draw_rates(axes: Any, rates: RefusalRates, judge: str) -> None:
    labels = []
    shares: dict[str, list[float]] = {"in full": [], "in part": [], "not at all": []}
    for (kind, version, rate_judge), (full, partial) in rates.items():
        if rate_judge == judge:
            declining = full.value + partial.value
            labels.append(f"{kind}: {VERSION_NAMES[version]}")
            shares["in full"].append(full.value)
            shares["in part"].append(partial.value)
            shares["not at all"].append(1 - declining)
    draw_shares(axes, labels, shares, [HOT, WARM, LIGHT])
    legend(axes)
