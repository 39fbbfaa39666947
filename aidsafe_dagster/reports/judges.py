"""Section: which version the judges prefer, how far they agree, and what they did not answer."""

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
from aidsafe_dagster.reports.grades import list_judges
from aidsafe_dagster.reports.paper import METRIC_NAMES, VERSION_NAMES
from aidsafe_dagster.reports.plots import GREY, HOT, STRONG, draw_shares, legend
from aidsafe_dagster.reports.sections import (
    Plot,
    Section,
    Table,
    format_count,
    format_number,
    format_percentage,
    format_share,
    format_signed,
)

TITLE = "Preferences"
_PREFERENCE_COLUMNS = (
    "pair",
    "judge",
    "n",
    "wins",
    "ties",
    "losses",
    "win rate, ties half",
    "turned with the order",
)
_AGREEMENT_COLUMNS = ("metric", "quadratic kappa", "same score", "mean difference", "n")


@dataclass(frozen=True)
class Preference:
    """How one version fares against another with one judge, who sees each pair in both orders."""

    judge: str
    version: str
    against: str
    outcomes: WinRate
    inconsistent: Estimate
    """Share of the comparisons whose preference turned with the order. They count as ties."""

    @property
    def label(self) -> str:
        return f"{VERSION_NAMES[self.version]} against {VERSION_NAMES[self.against]}"


def compute_preferences(comparisons: pl.DataFrame) -> list[Preference]:
    """Return a preference per judge and pair of versions, in the order of their names."""
    groups = comparisons.partition_by(["judge", "version", "against"], as_dict=True)
    preferences = []
    for key, rows in sorted(groups.items()):
        outcomes = rows["outcome"].to_list()
        rate = win_rate(
            outcomes.count("win"),
            outcomes.count("tie"),
            outcomes.count("loss"),
        )
        inconsistent = proportion(
            rows.filter(~pl.col("consistent")).height, rows.height
        )
        # Both are None only without rows, and a group has at least one.
        assert rate is not None
        assert inconsistent is not None
        judge, version, against = map(str, key)
        preferences.append(Preference(judge, version, against, rate, inconsistent))
    return preferences


@dataclass(frozen=True)
class Agreement:
    """Agreement of two judges on one metric, over all chains of thought that both graded."""

    n: int
    kappa: float | None
    """Quadratic weighted. None where it is undefined."""
    same: int
    """Number of grades that are equal."""
    difference: float | None
    """Mean of the first judge's score minus the second's."""


def compute_agreement(grades: pl.DataFrame) -> dict[Metric, Agreement]:
    """Return the agreement on each metric; empty unless there are two judges."""
    judges = list_judges(grades)
    # Cohen's kappa compares exactly two judges.
    if len(judges) != 2:
        return {}
    first = grades.filter(pl.col("judge") == judges[0])
    second = grades.filter(pl.col("judge") == judges[1])
    # A chain of thought that one judge did not grade is left out.
    both = first.join(
        second,
        on=["prompt_id", "version"],
        suffix="_second",
    )
    return {
        metric: _agreement(both[metric], both[f"{metric}_second"]) for metric in METRICS
    }


def _agreement(first: pl.Series, second: pl.Series) -> Agreement:
    difference = (first - second).mean()
    return Agreement(
        n=len(first),
        kappa=quadratic_kappa(first.to_list(), second.to_list()),
        same=int((first == second).sum()),
        difference=None if difference is None else float(difference),  # type: ignore[arg-type]
    )


def judges_section(
    grades: pl.DataFrame,
    preferences: list[Preference],
    agreement: Mapping[Metric, Agreement],
    ungraded: pl.DataFrame,
    comparisons: pl.DataFrame,
) -> Section:
    tables, plots = [], []
    if preferences:
        tables.append(_preference_table(preferences))
        title = "Wins, ties and losses of the refined CoT"
        plots.append(
            Plot(
                title,
                lambda axes: _draw_outcomes(axes, preferences),
                height=1.9,
            )
        )
    if agreement:
        tables.append(_agreement_table(agreement, list_judges(grades)))
    if ungraded.height:
        tables.append(_ungraded_table(ungraded, grades, comparisons))
    return Section(
        TITLE,
        _intro(preferences, agreement, ungraded),
        tables,
        plots,
    )


def _intro(
    preferences: list[Preference],
    agreement: Mapping[Metric, Agreement],
    ungraded: pl.DataFrame,
) -> str:
    sentences = []
    if preferences:
        sentences.append("The judge sees every pair in both orders.")
    else:
        sentences.append("No pair of versions has been compared yet.")
    if not agreement:
        sentences.append(
            "Agreement needs two judges. The setting grading.judges = 2 adds a second one."
        )
    if not ungraded.height:
        sentences.append("Every question to a judge got a valid answer.")
    return " ".join(sentences)


def _preference_table(preferences: list[Preference]) -> Table:
    rows = []
    for preference in preferences:
        outcomes = preference.outcomes
        rows.append(
            (
                preference.label,
                preference.judge,
                format_count(outcomes.rate.n),
                format_count(outcomes.wins),
                format_count(outcomes.ties),
                format_count(outcomes.losses),
                format_percentage(outcomes.rate),
                format_percentage(preference.inconsistent),
            )
        )
    note = (
        "Wilson intervals. A preference that turns with the order is position bias. "
        "It counts as a tie."
    )
    return Table(
        "Preferences",
        _PREFERENCE_COLUMNS,
        tuple(rows),
        note,
        text_columns=2,
    )


def _agreement_table(
    agreement: Mapping[Metric, Agreement], judges: tuple[str, ...]
) -> Table:
    rows = []
    for metric, agreed in agreement.items():
        kappa = "undefined" if agreed.kappa is None else format_number(agreed.kappa)
        rows.append(
            (
                METRIC_NAMES[metric],
                kappa,
                format_share(agreed.same, agreed.n),
                format_signed(agreed.difference),
                format_count(agreed.n),
            )
        )
    note = (
        "Cohen's kappa with quadratic weights: 1 is full agreement, 0 is chance. It is undefined "
        "where both judges gave every row the same score. The difference is "
        f"{judges[0]} minus {judges[1]}."
    )
    return Table("Agreement of the two judges", _AGREEMENT_COLUMNS, tuple(rows), note)


def _ungraded_table(
    ungraded: pl.DataFrame, grades: pl.DataFrame, comparisons: pl.DataFrame
) -> Table:
    # The tasks are worded as in `Ungraded.task`.
    grade_task = pl.format("grade {}", "version")
    compare_task = pl.format("compare {} with {}", "version", "against")
    answered = pl.concat(
        [
            grades.select("judge", grade_task.alias("task")),
            comparisons.select("judge", compare_task.alias("task")),
        ]
    )
    counts = ungraded.group_by("judge", "task").len().sort("judge", "task")
    rows = []
    for judge, task, n in counts.iter_rows():
        # A share of all questions of this kind, with and without an answer.
        total = n + answered.filter(judge=judge, task=task).height
        rows.append(
            (
                judge,
                task,
                format_count(n),
                format_share(n, total),
            )
        )
    return Table(
        "Not answered by a judge",
        ("judge", "task", "questions", "share of all"),
        tuple(rows),
        "Questions without a valid answer after all retries. They are counted and never scored.",
        text_columns=2,
    )


def _draw_outcomes(axes: Any, preferences: list[Preference]) -> None:
    # A judge's name beside each bar would be noise where there is only one.
    n_judges = len({preference.judge for preference in preferences})
    labels = []
    shares: dict[str, list[float]] = {"wins": [], "ties": [], "losses": []}
    for preference in preferences:
        label = f"against {VERSION_NAMES[preference.against]}"
        if n_judges > 1:
            label += f"\n{preference.judge}"
        labels.append(label)
        outcomes = preference.outcomes
        total = outcomes.rate.n
        shares["wins"].append(outcomes.wins / total)
        shares["ties"].append(outcomes.ties / total)
        shares["losses"].append(outcomes.losses / total)
    draw_shares(axes, labels, shares, [STRONG, GREY, HOT])
    legend(axes)
