"""Section: the margins of the preference pairs, against plain sampling, and what was left out."""

from collections.abc import Mapping
from math import floor
from typing import Any

import polars as pl

from aidsafe_dagster.quality.statistics import mean_interval, quantiles
from aidsafe_dagster.recipe.records import LEFT_OUT, Stage
from aidsafe_dagster.reports.frames import Dataset
from aidsafe_dagster.reports.plots import GREY, HOT, STRONG, draw_histograms, legend
from aidsafe_dagster.reports.sections import (
    EMPTY_CELL,
    Plot,
    Section,
    Table,
    format_count,
    format_number,
    share,
    with_interval,
)

TITLE = "Preference pairs"
PLAIN = "plain"
NAMES = {
    "violation": "ear-whisperer, violation",
    "needless_refusal": "ear-whisperer, needless refusal",
    PLAIN: "plain sampling",
}
_COLOURS = {"violation": STRONG, "needless_refusal": HOT, PLAIN: GREY}


def margins(pairs: pl.DataFrame) -> dict[str, list[float]]:
    """Margins in points of the policy score, by kind of pair; of plain sampling, how far the two answers are apart."""
    known = pairs.filter(pl.col("margin").is_not_null())
    found = {kind: known.filter(kind=kind)["margin"].to_list() for kind in NAMES if kind != PLAIN}
    sampled = known.filter(pl.col("plain_scores").list.len() == 2)["plain_scores"]
    found[PLAIN] = (sampled.list.first() - sampled.list.last()).abs().to_list()
    return {name: values for name, values in found.items() if values}


def pairs_section(dataset: Dataset, seed: int, resamples: int) -> Section:
    pairs = dataset.rows(
        Stage.PREFERENCE_PAIRS, "prompt_id", "kind", "margin", "plain_scores", "candidates"
    )
    if not dataset.batches_of(Stage.PREFERENCE_PAIRS):
        return Section(TITLE, "No pairs were made yet (stage preference_pairs).")
    found = margins(pairs)
    tables = [_margin_table(found, seed, resamples), _left_out_table(dataset, pairs.height)]
    if searched := _search_rows(pairs):
        tables.append(_search_table(searched))
    plots = [
        Plot(
            "Margin, in points of the policy score: share of rows", lambda axes: _draw(axes, found)
        )
    ]
    intro = (
        "A margin is the policy score (1 to 5) of the chosen side minus that of the rejected one. Plain sampling: the "
        "distance of two answers of the target without any belief: what the paper found too small to learn from. The "
        "margins are of the pairs that were kept; those too small are left out, and counted below."
    )
    return Section(TITLE, intro, tables, plots if found else [])


def _margin_table(found: Mapping[str, list[float]], seed: int, resamples: int) -> Table:
    rows = []
    for name, values in found.items():
        low, middle, high = quantiles(values, (0.1, 0.5, 0.9)) or (None, None, None)
        mean = with_interval(mean_interval(values, seed, resamples))
        rows.append(
            (NAMES[name], format_count(len(values)), mean, format_number(low), format_number(middle), format_number(high))
        )
    return Table("Margins", ("how", "n", "mean", "p10", "p50", "p90"), tuple(rows))


def _left_out_table(dataset: Dataset, pairs: int) -> Table:
    lost = dataset.failures.filter(stage=str(Stage.PREFERENCE_PAIRS))
    total = pairs + lost.height
    counts = lost.group_by("reason").len().sort(["len", "reason"], descending=[True, False])
    rows = [("pair kept", EMPTY_CELL, format_count(pairs), share(pairs, total))]
    for reason, n in counts.iter_rows():
        rows.append(
            (str(reason), "left out" if reason in LEFT_OUT else "failed", format_count(n), share(n, total))
        )
    return Table(
        "What became of the rows", ("outcome", "kind", "rows", "share"), tuple(rows), words=2
    )


def _search_rows(pairs: pl.DataFrame) -> list[tuple[str, ...]]:
    tried = pairs.select("prompt_id", "kind", "candidates").filter(
        pl.col("candidates").list.len() > 0
    )
    lines = tried.explode("candidates").unnest("candidates")
    grouped = lines.group_by("kind", "iteration").agg(
        pl.len(),
        pl.col("score").is_null().sum().alias("unscored"),
        pl.col("score").mean(),
        pl.col("score").min().alias("least"),
    )
    return [
        (NAMES[kind], str(iteration), format_count(n), format_count(unscored), format_number(score), format_number(least))
        for kind, iteration, n, unscored, score, least in grouped.sort(
            "kind", "iteration", descending=[True, False]
        ).iter_rows()
    ]


def _search_table(rows: list[tuple[str, ...]]) -> Table:
    note = "Policy score of what the target said under each belief, of the rows that made a pair: 1 departs altogether."
    columns = ("how", "iteration", "beliefs", "without a score", "mean score", "least")
    return Table("The search for beliefs", columns, tuple(rows), note, words=2)


def _draw(axes: Any, found: Mapping[str, list[float]]) -> None:
    least = min(0.0, *(value for values in found.values() for value in values))
    edges = [
        step / 4 for step in range(floor(4 * least), 17)
    ]  # four points are the most there can be
    draw_histograms(
        axes,
        {NAMES[name]: values for name, values in found.items()},
        edges,
        [_COLOURS[name] for name in found],
    )
    legend(axes, columns=1)
