"""Section: the margins of preference pairs and of plain sampling, and the rows left out."""

from collections.abc import Mapping
from math import floor
from statistics import fmean
from typing import Any

import polars as pl

from aidsafe_dagster.quality.statistics import mean_interval, quantiles
from aidsafe_dagster.recipe.records import (
    BELIEF_CANDIDATES,
    EXCLUSION_REASONS,
    Stage,
)
from aidsafe_dagster.reports.frames import Dataset
from aidsafe_dagster.reports.plots import GREY, HOT, STRONG, draw_histograms, legend
from aidsafe_dagster.reports.sections import (
    EMPTY_CELL,
    Plot,
    Section,
    Table,
    format_count,
    format_estimate,
    format_number,
    format_share,
)

TITLE = "Preference pairs"
PLAIN = "plain"
METHODS = {
    "violation": "ear-whisperer, violation",
    "needless_refusal": "ear-whisperer, needless refusal",
    PLAIN: "plain sampling",
}
"""How the sides of a pair came about: kind of pair, or `PLAIN` → its name in the report."""
MARGIN_COLUMNS = ("prompt_id", "kind", "margin", "plain_scores")
_COLOURS = {"violation": STRONG, "needless_refusal": HOT, PLAIN: GREY}
_MAX_MARGIN = 4
"""Scores go from 1 to 5."""
_BINS_PER_POINT = 4
_INTRO = (
    "A margin is the policy score (1 to 5) of the chosen side minus that of the rejected side. For "
    "plain sampling it is the distance between two answers of the target without any belief. The "
    "paper deciles that distance too small to learn from. The margins are those of the pairs that "
    "were kept. Rows whose sides are unfit for a pair are left out and counted below."
)


def collect_margins(pairs: pl.DataFrame) -> dict[str, list[float]]:
    """Return the margins in points of the policy score, by method that has pairs.

    Args:
        pairs: rows of preference pairs with `MARGIN_COLUMNS`.
    """
    with_margin = pairs.filter(pl.col("margin").is_not_null())
    margins: dict[str, list[float]] = {}
    for method in METHODS:
        if method != PLAIN:
            pairs_of_kind = with_margin.filter(kind=method)
            margins[method] = pairs_of_kind["margin"].to_list()
    # Rows without plain sampling have an empty list.
    has_two_scores = pl.col("plain_scores").list.len() == 2
    plain_scores = with_margin.filter(has_two_scores)["plain_scores"]
    # Neither answer is the chosen one, so the distance has no sign.
    differences = plain_scores.list.first() - plain_scores.list.last()
    margins[PLAIN] = differences.abs().to_list()
    return {method: values for method, values in margins.items() if values}


def pairs_section(dataset: Dataset, seed: int, resamples: int) -> Section:
    # A batch without pairs still has a table of its failures.
    if not dataset.batches_of(Stage.PREFERENCE_PAIRS):
        return Section(TITLE, "No pairs have been made yet (stage preference_pairs).")
    pairs = dataset.rows(Stage.PREFERENCE_PAIRS, *MARGIN_COLUMNS, "length_ratio")
    margins = collect_margins(pairs)
    tables = [
        _margin_table(margins, seed, resamples),
        _outcome_table(dataset, pairs.height),
    ]
    ratios = pairs.filter(pl.col("length_ratio").is_not_null())
    if ratios.height:
        tables.append(_length_table(ratios))
    tried = dataset.rows(BELIEF_CANDIDATES, "kind", "iteration", "score", "left_out")
    if tried.height:
        tables += [_search_table(_count_beliefs(tried)), _fate_table(tried)]
    plots = []
    if margins:
        title = "Margin, in points of the policy score: share of rows"
        plots.append(Plot(title, lambda axes: _draw_margins(axes, margins)))
    return Section(TITLE, _INTRO, tables, plots)


def _margin_table(
    margins: Mapping[str, list[float]], seed: int, resamples: int
) -> Table:
    rows = []
    for method, values in margins.items():
        low, median, high = quantiles(values, (0.1, 0.5, 0.9)) or (None, None, None)
        rows.append(
            (
                METHODS[method],
                format_count(len(values)),
                format_estimate(mean_interval(values, seed, resamples)),
                format_number(low),
                format_number(median),
                format_number(high),
            )
        )
    return Table(
        "Margins",
        ("how", "n", "mean", "p10", "p50", "p90"),
        tuple(rows),
    )


def _outcome_table(dataset: Dataset, pairs: int) -> Table:
    lost = dataset.failures.filter(stage=str(Stage.PREFERENCE_PAIRS))
    total = pairs + lost.height
    counts = (
        lost.group_by("reason").len().sort(["len", "reason"], descending=[True, False])
    )
    kept_share = format_share(pairs, total)
    rows = [("pair kept", EMPTY_CELL, format_count(pairs), kept_share)]
    for reason, n in counts.iter_rows():
        kind = "left out" if reason in EXCLUSION_REASONS else "failed"
        rows.append(
            (
                str(reason),
                kind,
                format_count(n),
                format_share(n, total),
            )
        )
    columns = ("outcome", "kind", "rows", "share")
    return Table(
        "What became of the rows",
        columns,
        tuple(rows),
        text_columns=2,
    )


def _length_table(ratios: pl.DataFrame) -> Table:
    rows = []
    for kind, how in METHODS.items():
        values = ratios.filter(kind=kind)["length_ratio"].to_list()
        deciles = quantiles(values, (0.1, 0.5, 0.9))
        if not deciles:
            continue
        longer = sum(value > 1 for value in values)
        rows.append(
            (
                how,
                format_count(len(values)),
                format_number(fmean(values)),
                *map(format_number, deciles),
                format_share(longer, len(values)),
            )
        )
    note = (
        "Tokens of the chosen CoT and response divided by those of the rejected ones. What "
        "learns from pairs whose chosen side is always the longer one learns to write more."
    )
    columns = ("how", "n", "mean", "p10", "p50", "p90", "chosen is longer")
    return Table("Length of chosen against rejected", columns, tuple(rows), note)


def _fate_table(tried: pl.DataFrame) -> Table:
    """Count the candidates that may be a rejected side, and the others by reason."""
    counts = tried.group_by("left_out").len()
    counts = counts.sort(["len", "left_out"], descending=[True, False])
    rows = []
    for reason, n in counts.iter_rows():
        fate = reason or "may be a rejected side"
        rows.append((fate, format_count(n), format_share(n, tried.height)))
    return Table(
        "What became of the candidates",
        ("outcome", "candidates", "share"),
        tuple(rows),
    )


def _count_beliefs(tried: pl.DataFrame) -> pl.DataFrame:
    """Return a row per kind of pair and iteration: `n`, `unscored`, mean `score`, `least` score."""
    counts = tried.group_by("kind", "iteration").agg(
        pl.len().alias("n"),
        pl.col("score").is_null().sum().alias("unscored"),
        pl.col("score").mean(),
        pl.col("score").min().alias("least"),
    )
    return counts.sort("kind", "iteration", descending=[True, False])


def _search_table(beliefs: pl.DataFrame) -> Table:
    rows = []
    for kind, iteration, n, unscored, score, least in beliefs.iter_rows():
        counts = (
            str(iteration),
            format_count(n),
            format_count(unscored),
        )
        rows.append(
            (
                METHODS[kind],
                *counts,
                format_number(score),
                format_number(least),
            )
        )
    note = (
        "Policy score of the target's answer under each belief, over all rows that were searched. "
        "A score of 1 departs from the policies altogether."
    )
    columns = ("how", "iteration", "beliefs", "without a score", "mean score", "least")
    return Table(
        "The search for beliefs",
        columns,
        tuple(rows),
        note,
        text_columns=2,
    )


def _draw_margins(axes: Any, margins: Mapping[str, list[float]]) -> None:
    # A margin below 0 is possible where min_margin is; the plot begins at 0 otherwise.
    least = min(0.0, *(min(values) for values in margins.values()))
    first_bin = floor(_BINS_PER_POINT * least)
    last_bin = _BINS_PER_POINT * _MAX_MARGIN
    edges = [step / _BINS_PER_POINT for step in range(first_bin, last_bin + 1)]
    series, colours = {}, []
    for method, values in margins.items():
        series[METHODS[method]] = values
        colours.append(_COLOURS[method])
    draw_histograms(axes, series, edges, colours)
    legend(axes, columns=1)
