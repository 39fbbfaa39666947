"""Section: how deliberations ended, what the refiner dropped, and how long the CoTs are."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from aidsafe_dagster.quality.statistics import proportion, quantiles
from aidsafe_dagster.recipe.records import Stage, ThoughtVerdict
from aidsafe_dagster.reports.frames import Dataset
from aidsafe_dagster.reports.paper import COT_TOKENS
from aidsafe_dagster.reports.plots import (
    GREY,
    LIGHT,
    MIDDLE,
    STRONG,
    draw_histograms,
    legend,
)
from aidsafe_dagster.reports.sections import (
    EMPTY_CELL,
    Plot,
    Section,
    Table,
    format_count,
    format_percentage,
    format_share,
)

TITLE = "Deliberation and length"
_BINS = 30
_VERSIONS: Mapping[str, tuple[str, str]] = {
    "single LLM": (Stage.SINGLE_LLM_COTS, GREY),
    "seed": (Stage.SEED_COTS, LIGHT),
    "deliberated": (Stage.DELIBERATED_COTS, MIDDLE),
    "refined": (Stage.REFINED_COTS, STRONG),
}
"""Version of the chain of thought → the stage that makes it, and its colour."""


def deliberation_section(dataset: Dataset, tokens_counted_by: str) -> Section:
    lengths = cot_lengths(dataset)
    if not lengths:
        return Section(TITLE, "No chain of thought has been made yet.")
    tables = []
    outcomes = deliberation_outcomes(dataset)
    if outcomes.height:
        tables.append(_outcome_table(outcomes))
    verdicts = _refiner_verdicts(dataset)
    if verdicts.height:
        tables.append(_verdict_table(verdicts))
    tables.append(_length_table(lengths, tokens_counted_by))
    plot = Plot(
        "Tokens of the CoT: share of rows", lambda axes: _draw_lengths(axes, lengths)
    )
    return Section(TITLE, "", tables, [plot])


def cot_lengths(dataset: Dataset) -> dict[str, list[int]]:
    """Return the tokens of each chain of thought by version, without versions that have no rows."""
    lengths = {}
    for version, (stage, _) in _VERSIONS.items():
        tokens = dataset.rows(stage, "cot_tokens")["cot_tokens"].to_list()
        if tokens:
            lengths[version] = tokens
    return lengths


def deliberation_outcomes(dataset: Dataset) -> pl.DataFrame:
    """Return a row per deliberation: `outcome`, `stalled`, `rounds`, `turns`, `thoughts`."""
    # Reduced to a few numbers batch by batch: the turns hold most of the text of the lake.
    round_of_turn = pl.element().struct.field("round")
    rounds = pl.col("turns").list.eval(round_of_turn).list.max()
    outcome_columns = (
        "outcome",
        "stalled",
        rounds.fill_null(0).alias("rounds"),
        pl.col("turns").list.len(),
        pl.col("thoughts").list.len(),
    )
    return dataset.map_batches(
        Stage.DELIBERATED_COTS,
        ("outcome", "stalled", "turns", "thoughts"),
        lambda rows: rows.select(*outcome_columns),
    )


def _outcome_table(outcomes: pl.DataFrame) -> Table:
    n = outcomes.height
    stalled = outcomes.filter("stalled").height
    counts = {
        "ended by consensus": outcomes.filter(outcome="consensus").height,
        "of these, stalled: agreed on the very first turn": stalled,
        "ended when the budget was spent": outcomes.filter(outcome="budget").height,
    }
    for rounds, count in outcomes.group_by("rounds").len().sort("rounds").iter_rows():
        unit = "round" if rounds == 1 else "rounds"
        counts[f"{rounds} {unit}"] = count
    rows = []
    for outcome, count in counts.items():
        rows.append(
            (
                outcome,
                format_count(count),
                format_percentage(proportion(count, n)),
            )
        )
    turns = outcomes["turns"].sum() / n
    thoughts = outcomes["thoughts"].sum() / n
    note = (
        f"{format_count(n)} deliberations, with Wilson intervals. A deliberation has "
        f"{turns:.1f} turns and {thoughts:.1f} thoughts on average. A stalled deliberation is a "
        "sign of failure; it is kept all the same."
    )
    columns = ("outcome", "rows", "share")
    return Table("How deliberations ended", columns, tuple(rows), note)


def _refiner_verdicts(dataset: Dataset) -> pl.DataFrame:
    """Return a row per refined row: `verdicts` on its thoughts, and `rests_on_dropped`."""
    verdict = pl.element().struct.field("verdict")
    verdicts = pl.col("judgements").list.eval(verdict)
    return dataset.map_batches(
        Stage.REFINED_COTS,
        ("judgements", "rests_on_dropped"),
        lambda rows: rows.select(verdicts.alias("verdicts"), "rests_on_dropped"),
    )


def _verdict_table(refined: pl.DataFrame) -> Table:
    verdicts = refined["verdicts"].explode().to_list()
    rows = []
    for verdict in ThoughtVerdict:
        count = verdicts.count(verdict)
        share = format_share(count, len(verdicts))
        rows.append(
            (
                _describe_verdict(verdict),
                format_count(count),
                share,
            )
        )
    unsupported = int(refined["rests_on_dropped"].sum())
    note = (
        f"Deliberated thoughts: {format_count(len(verdicts))}. Rows: "
        f"{format_count(refined.height)}. Rows with a final thought that rests on dropped "
        f"thoughts alone: {format_count(unsupported)}."
    )
    title = "What the refiner made of each thought"
    return Table(
        title,
        ("verdict", "thoughts", "share"),
        tuple(rows),
        note,
    )


def _describe_verdict(verdict: ThoughtVerdict) -> str:
    word = verdict.replace("_", "-")
    return word if verdict is ThoughtVerdict.KEEP else f"drop: {word}"


def _length_table(lengths: Mapping[str, list[int]], tokens_counted_by: str) -> Table:
    rows = []
    for version, tokens in lengths.items():
        median, high = quantiles(tokens, (0.5, 0.95)) or (0.0, 0.0)
        mean = sum(tokens) / len(tokens)
        # The paper counts the tokens of two versions only, and rounds them.
        paper = EMPTY_CELL
        if version in COT_TOKENS:
            paper = f"about {COT_TOKENS[version]}"
        statistics = (
            f"{mean:,.0f}",
            f"{median:,.0f}",
            f"{high:,.0f}",
        )
        rows.append(
            (
                version,
                format_count(len(tokens)),
                *statistics,
                paper,
            )
        )
    note = f"Counted by: {tokens_counted_by}." if tokens_counted_by else ""
    columns = ("version", "n", "mean", "p50", "p95", "paper")
    return Table("Tokens of the chain of thought", columns, tuple(rows), note)


def _draw_lengths(axes: Any, lengths: Mapping[str, list[int]]) -> None:
    longest = max(max(tokens) for tokens in lengths.values())
    # All lengths may be 0. A histogram still needs a width.
    edges: list[float] = [0, 1]
    if longest:
        width = longest / _BINS
        edges = [width * step for step in range(_BINS + 1)]
    # The same colour for a version in every plot, whichever versions have rows.
    colours = [_VERSIONS[version][1] for version in lengths]
    draw_histograms(axes, lengths, edges, colours)
    legend(axes)
