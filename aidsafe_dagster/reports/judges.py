"""Section: whom the judges prefer, how far they agree, and what they did not answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from aidsafe_dagster.quality.statistics import (
    Estimate,
    WinRate,
    proportion,
    quadratic_kappa,
    win_rate,
)
from aidsafe_dagster.recipe.records import METRICS, Metric
from aidsafe_dagster.reports.grades import judges_of
from aidsafe_dagster.reports.paper import NAMES, WORDING
from aidsafe_dagster.reports.plots import GREY, HOT, STRONG, draw_shares, legend
from aidsafe_dagster.reports.sections import (
    Plot,
    Section,
    Table,
    format_count,
    format_number,
    percentage,
    share,
    signed,
)

TITLE = "Preferences"
_BY_PAIR = ["judge", "version", "against"]


@dataclass(frozen=True)
class Preference:
    """How one version fares against another with one judge, asked in both orders."""

    judge: str
    version: str
    against: str
    found: WinRate
    inconsistent: Estimate
    """Share of the comparisons whose preference turned with the order: position bias. They format_count as ties."""

    @property
    def label(self) -> str:
        return f"{NAMES[self.version]} against {NAMES[self.against]}"


def preferences(comparisons: pl.DataFrame) -> list[Preference]:
    """One per judge and pair of versions, in the order of their names."""
    found = []
    for key, lines in sorted(comparisons.partition_by(_BY_PAIR, as_dict=True).items()):
        outcomes = lines["outcome"].to_list()
        rate = win_rate(outcomes.count("win"), outcomes.count("tie"), outcomes.count("loss"))
        inconsistent = proportion(lines.filter(~pl.col("consistent")).height, lines.height)
        assert rate is not None
        assert inconsistent is not None
        judge, version, against = map(str, key)
        found.append(Preference(judge, version, against, rate, inconsistent))
    return found


@dataclass(frozen=True)
class Agreement:
    """Of two judges on one metric, over all chains of thought that both graded."""

    n: int
    kappa: float | None
    """Quadratic weighted; None where it is undefined."""
    same: int
    """Grades that are equal."""
    difference: float | None
    """Mean of the first judge's score minus the second's."""


def agreement(lines: pl.DataFrame) -> dict[Metric, Agreement]:
    """By metric; empty unless there are two judges."""
    judges = judges_of(lines)
    if len(judges) != 2:
        return {}
    one, other = (lines.filter(pl.col("judge") == judge) for judge in judges)
    both = one.join(other, on=["prompt_id", "version"], suffix="_other")
    return {metric: _agreement(both[metric], both[f"{metric}_other"]) for metric in METRICS}


def _agreement(one: pl.Series, other: pl.Series) -> Agreement:
    difference = (one - other).mean()
    kappa = quadratic_kappa(one.to_list(), other.to_list())
    return Agreement(
        len(one),
        kappa,
        int((one == other).sum()),
        None if difference is None else float(difference),  # type: ignore[arg-type]
    )


def judges_section(
    lines: pl.DataFrame,
    found: list[Preference],
    agreed: Mapping[Metric, Agreement],
    ungraded: pl.DataFrame,
    comparisons: pl.DataFrame,
) -> Section:
    tables, plots = [], []
    if found:
        tables.append(_preference_table(found))
        plots.append(
            Plot(
                "Wins, ties and losses of the refined CoT", lambda axes: _outcomes(axes, found), 1.9
            )
        )
    if agreed:
        tables.append(_agreement_table(agreed, judges_of(lines)))
    if ungraded.height:
        tables.append(_ungraded_table(ungraded, lines, comparisons))
    return Section(TITLE, _intro(found, agreed, ungraded), tables, plots)


def _intro(
    found: list[Preference], agreed: Mapping[Metric, Agreement], ungraded: pl.DataFrame
) -> str:
    said = (
        ["Every pair is shown in both orders."]
        if found
        else ["No pair of versions was compared yet."]
    )
    if not agreed:
        said.append(
            "With one judge, agreement cannot be told: the setting grading.judges = 2 adds a second one."
        )
    if not ungraded.height:
        said.append("Every question to a judge got a valid answer.")
    return " ".join(said)


def _preference_table(found: list[Preference]) -> Table:
    rows = [
        (
            one.label,
            one.judge,
            format_count(one.found.rate.n),
            format_count(one.found.wins),
            format_count(one.found.ties),
            format_count(one.found.losses),
            percentage(one.found.rate),
            percentage(one.inconsistent),
        )
        for one in found
    ]
    columns = (
        "pair",
        "judge",
        "n",
        "wins",
        "ties",
        "losses",
        "win rate, ties half",
        "turned with the order",
    )
    note = "Wilson intervals. A preference that turns with the order is position bias, and counts as a tie."
    return Table("Preferences", columns, tuple(rows), note, words=2)


def _agreement_table(agreed: Mapping[Metric, Agreement], judges: tuple[str, ...]) -> Table:
    rows = [
        (
            WORDING[metric],
            format_number(found.kappa) if found.kappa is not None else "undefined",
            share(found.same, found.n),
            signed(found.difference),
            format_count(found.n),
        )
        for metric, found in agreed.items()
    ]
    note = (
        "Cohen's kappa with quadratic weights: 1 is full agreement, 0 chance. It is undefined where both judges gave "
        f"every row one and the same score. Difference: {judges[0]} minus {judges[1]}."
    )
    columns = ("metric", "quadratic kappa", "same score", "mean difference", "n")
    return Table("Agreement of the two judges", columns, tuple(rows), note)


def _ungraded_table(
    ungraded: pl.DataFrame, lines: pl.DataFrame, comparisons: pl.DataFrame
) -> Table:
    grades = lines.select("judge", ("grade " + pl.col("version")).alias("task"))
    named = "compare " + pl.col("version") + " with " + pl.col("against")
    answered = pl.concat([grades, comparisons.select("judge", named.alias("task"))])
    counts = ungraded.group_by("judge", "task").len().sort("judge", "task")
    rows = [
        (judge, task, format_count(n), share(n, n + answered.filter(judge=judge, task=task).height))
        for judge, task, n in counts.iter_rows()
    ]
    note = "Questions without a valid answer after all re-asks: counted, never scored."
    return Table(
        "Not answered by a judge",
        ("judge", "task", "questions", "share of all"),
        tuple(rows),
        note,
        words=2,
    )


def _outcomes(axes: Any, found: list[Preference]) -> None:
    several = len({one.judge for one in found}) > 1
    labels = [
        f"against {NAMES[one.against]}" + (f"\n{one.judge}" if several else "") for one in found
    ]
    shares = {
        word: [getattr(one.found, word) / one.found.rate.n for one in found]
        for word in ("wins", "ties", "losses")
    }
    draw_shares(axes, labels, shares, [STRONG, GREY, HOT])
    legend(axes)
