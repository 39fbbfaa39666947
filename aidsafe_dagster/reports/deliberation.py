"""Section: how the deliberations went, what the refiner made of them, and how long the chains of thought are."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from aidsafe_dagster.quality.statistics import proportion, quantiles
from aidsafe_dagster.recipe.records import Stage, ThoughtVerdict
from aidsafe_dagster.reports.frames import Dataset
from aidsafe_dagster.reports.paper import COT_TOKENS
from aidsafe_dagster.reports.plots import GREY, LIGHT, MIDDLE, STRONG, draw_histograms, legend
from aidsafe_dagster.reports.sections import EMPTY_CELL, Plot, Section, Table, format_count, percentage, share

TITLE = "Deliberation and length"
_LENGTHS: Mapping[str, tuple[Stage, str]] = {
    "single LLM": (Stage.SINGLE_LLM_COTS, GREY),
    "seed": (Stage.SEED_COTS, LIGHT),
    "deliberated": (Stage.DELIBERATED_COTS, MIDDLE),
    "refined": (Stage.REFINED_COTS, STRONG),
}


def deliberation_section(dataset: Dataset, tokens_counted_by: str) -> Section:
    lengths = cot_tokens(dataset)
    if not lengths:
        return Section(TITLE, "No chain of thought was made yet.")
    tables = [
        *_outcome_tables(dataset),
        *_verdict_tables(dataset),
        _length_table(lengths, tokens_counted_by),
    ]
    plots = [Plot("Tokens of the CoT: share of rows", lambda axes: _draw(axes, lengths))]
    return Section(TITLE, "", tables, plots)


def cot_tokens(dataset: Dataset) -> dict[str, list[int]]:
    """Tokens of each chain of thought, by version; versions without rows are left out."""
    found = {
        name: dataset.rows(stage, "cot_tokens")["cot_tokens"].to_list()
        for name, (stage, _) in _LENGTHS.items()
    }
    return {name: values for name, values in found.items() if values}


def outcomes(dataset: Dataset) -> pl.DataFrame:
    """One line per deliberation: `outcome`, `stalled`, `rounds`, `turns`, `thoughts`."""
    rounds = pl.col("turns").list.eval(pl.element().struct.field("round")).list.max().fill_null(0)
    told = (
        "outcome",
        "stalled",
        rounds.alias("rounds"),
        pl.col("turns").list.len(),
        pl.col("thoughts").list.len(),
    )
    columns = ("outcome", "stalled", "turns", "thoughts")
    return dataset.map_batches(Stage.DELIBERATED_COTS, columns, lambda rows: rows.select(*told))


def _outcome_tables(dataset: Dataset) -> list[Table]:
    found = outcomes(dataset)
    if not found.height:
        return []
    n = found.height
    lines = {
        "ended by consensus": found.filter(outcome="consensus").height,
        "of these, stalled: agreed on the very first turn": found.filter(pl.col("stalled")).height,
        "ended when the budget was spent": found.filter(outcome="budget").height,
    }
    rows = [(name, format_count(k), percentage(proportion(k, n))) for name, k in lines.items()]
    for rounds, k in found.group_by("rounds").len().sort("rounds").iter_rows():
        rows.append(
            (f"{rounds} round{'' if rounds == 1 else 's'}", format_count(k), percentage(proportion(k, n)))
        )
    turns, thoughts = found["turns"].sum() / n, found["thoughts"].sum() / n
    note = f"Of {format_count(n)} deliberations, with Wilson intervals. On average {turns:.1f} turns and {thoughts:.1f} "
    note += "thoughts. A stalled deliberation is a failure signature, and is kept."
    return [Table("How deliberations ended", ("outcome", "rows", "share"), tuple(rows), note)]


def _verdict_tables(dataset: Dataset) -> list[Table]:
    given = pl.col("judgements").list.eval(pl.element().struct.field("verdict"))
    columns = ("judgements", "rests_on_dropped")
    rows = dataset.map_batches(Stage.REFINED_COTS, columns, lambda rows: rows.with_columns(given))
    if not rows.height:
        return []
    verdicts = rows["judgements"].explode().to_list()
    lines = [
        (_words(v), format_count(verdicts.count(v)), share(verdicts.count(v), len(verdicts)))
        for v in ThoughtVerdict
    ]
    rests = int(rows["rests_on_dropped"].sum())
    note = f"Of {format_count(len(verdicts))} deliberated thoughts in {format_count(rows.height)} rows; in {format_count(rests)} rows a "
    note += "final thought rests on dropped ones alone."
    return [
        Table(
            "What the refiner made of each thought",
            ("verdict", "thoughts", "share"),
            tuple(lines),
            note,
        )
    ]


def _words(verdict: ThoughtVerdict) -> str:
    word = verdict.replace("_", "-")
    return word if verdict is ThoughtVerdict.KEEP else f"drop: {word}"


def _length_table(lengths: Mapping[str, list[int]], tokens_counted_by: str) -> Table:
    rows = []
    for name, values in lengths.items():
        middle, high = quantiles(values, (0.5, 0.95)) or (0.0, 0.0)
        mean = sum(values) / len(values)
        paper = f"about {COT_TOKENS[name]}" if name in COT_TOKENS else EMPTY_CELL
        rows.append(
            (name, format_count(len(values)), f"{mean:,.0f}", f"{middle:,.0f}", f"{high:,.0f}", paper)
        )
    note = f"Counted by: {tokens_counted_by}." if tokens_counted_by else ""
    return Table(
        "Tokens of the chain of thought",
        ("version", "n", "mean", "p50", "p95", "paper"),
        tuple(rows),
        note,
    )


def _draw(axes: Any, lengths: Mapping[str, list[int]]) -> None:
    top = max(max(values) for values in lengths.values())
    edges = [top * step / 30 for step in range(31)] if top else [0, 1]
    draw_histograms(axes, lengths, edges, [_LENGTHS[name][1] for name in lengths])
    legend(axes)
