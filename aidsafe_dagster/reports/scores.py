"""Section: the six scores of the chains of thought, as in the paper's table."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from aidsafe_dagster.recipe.records import METRICS, Metric
from aidsafe_dagster.reports.grades import (
    VERSIONS,
    VersionScores,
    graded_versions,
    on_the_same_prompts,
)
from aidsafe_dagster.reports.paper import (
    AIDSAFE,
    METRIC_NAMES,
    SINGLE_LLM,
    VERSION_NAMES,
)
from aidsafe_dagster.reports.plots import (
    GREY,
    HOT,
    LIGHT,
    MIDDLE,
    STRONG,
    WARM,
    draw_estimates,
    draw_marks,
    draw_shares,
    legend,
)
from aidsafe_dagster.reports.sections import (
    Plot,
    Section,
    Table,
    format_count,
    format_estimate,
    format_number,
    format_quantity,
    format_signed,
)

TITLE = "Scores"
_KEY_METRIC: Metric = "policy_to_cot"
_VERSION_COLUMNS = tuple(VERSION_NAMES[version] for version in VERSIONS)
_MINUS = "\u2212"
_SCORE_NAMES = ("1", "2", "3", "4", "5")
_PAPER_NOTE = (
    "The paper's figures (arXiv 2505.21784) come from other prompts, models and judges. They are a "
    "landmark, not a target. In the paper, the two differ only in how faithful the CoT is to the "
    "policies."
)


def scores_section(
    grades: pl.DataFrame,
    scores: VersionScores,
    scores_by_judge: Mapping[str, VersionScores],
    warning: str = "",
) -> Section:
    """Show the paper's table for this data, a table by judge if there are two, and the spread.

    Args:
        grades: a row per grade.
        scores: of all judges.
        scores_by_judge: of each judge.
        warning: stands beside the scores, for example that a model judged its own text.
    """
    # The warning opens the section: nobody should read the figures without it.
    opening = f"{warning}. " if warning else ""
    if not scores.n:
        return Section(TITLE, opening + _explain_empty(grades))
    tables = [main_table(scores, _describe_judges(grades))]
    # With one judge it would repeat the table above.
    if len(scores_by_judge) > 1:
        tables.append(_judge_table(scores_by_judge))
    plots = _plots(on_the_same_prompts(grades), scores)
    return Section(
        TITLE,
        opening + _intro(grades, scores),
        tables,
        plots,
    )


def _explain_empty(grades: pl.DataFrame) -> str:
    if not grades.height:
        return "No row has been graded yet (stage cot_grades)."
    return (
        "No prompt has a grade of every version by every judge. There is nothing to compare on the "
        "same prompts."
    )


def _intro(grades: pl.DataFrame, scores: VersionScores) -> str:
    refined = grades.filter(pl.col("version") == "refined")
    graded = refined["prompt_id"].n_unique()
    prompts = format_quantity(scores.n, "prompt", "prompts")
    rows = format_quantity(graded, "refined row", "refined rows")
    intro = (
        "Mean scores from 1 to 5 with 95 % bootstrap intervals. They cover the prompts where every "
        f"version has a grade by every judge: {prompts}, out of {rows} with a grade."
    )
    missing = []
    for version in VERSIONS:
        if version not in scores.versions:
            missing.append(VERSION_NAMES[version])
    if missing:
        intro += f" Not graded and not compared: {', '.join(missing)}."
    return intro


def _describe_judges(grades: pl.DataFrame) -> str:
    judges = grades.select("judge", "model").unique().sort("judge", "model")
    descriptions = []
    for judge, model in judges.iter_rows():
        descriptions.append(f"{judge} ({model})")
    return ", ".join(descriptions)


def main_table(scores: VersionScores, judges: str) -> Table:
    """Return the paper's table for this data, with the paper's own figures beside."""
    rows = []
    for metric in METRICS:
        means = [format_estimate(scores.mean(version, metric)) for version in VERSIONS]
        over_single_llm = scores.gain("single_llm", metric)
        over_deliberated = scores.gain("deliberated", metric)
        rows.append(
            (
                METRIC_NAMES[metric],
                *means,
                format_estimate(over_single_llm, format_signed),
                format_estimate(over_deliberated, format_signed),
                format_number(SINGLE_LLM[metric]),
                format_number(AIDSAFE[metric]),
            )
        )
    columns = (
        "metric",
        *_VERSION_COLUMNS,
        f"refined {_MINUS} single LLM",
        f"refined {_MINUS} deliberated",
        "paper: single LLM",
        "paper: AIDSAFE",
    )
    # The description of several judges is joined by commas.
    label = "Mean of the judges" if "," in judges else "Judge"
    prompts = format_quantity(scores.n, "prompt", "prompts")
    note = f"n = {prompts}. {label}: {judges}. Differences are paired. {_PAPER_NOTE}"
    key_row = frozenset({METRICS.index(_KEY_METRIC)})
    return Table(
        "The paper's table for this data",
        columns,
        tuple(rows),
        note,
        marked=key_row,
    )


def _judge_table(scores_by_judge: Mapping[str, VersionScores]) -> Table:
    rows = []
    for judge, scores in scores_by_judge.items():
        for metric in METRICS:
            means = [
                format_estimate(scores.mean(version, metric)) for version in VERSIONS
            ]
            gain = format_estimate(scores.gain("single_llm", metric), format_signed)
            rows.append(
                (
                    judge,
                    METRIC_NAMES[metric],
                    *means,
                    gain,
                    format_count(scores.n),
                )
            )
    columns = (
        "judge",
        "metric",
        *_VERSION_COLUMNS,
        f"refined {_MINUS} single LLM",
        "n",
    )
    note = "Each judge's figures cover the prompts of which it graded every version."
    return Table(
        "By judge",
        columns,
        tuple(rows),
        note,
        text_columns=2,
    )


def _plots(grades: pl.DataFrame, scores: VersionScores) -> list[Plot]:
    plots = []
    if "single_llm" in scores.versions:
        title = "Refined minus single LLM, in points"
        plots.append(Plot(title, lambda axes: _draw_gains(axes, scores)))
    title = "How faithful the CoT is to the policies: share of grades"
    plots.append(
        Plot(
            title,
            lambda axes: _draw_spread(axes, grades),
            height=1.9,
        )
    )
    return plots


def _draw_gains(axes: Any, scores: VersionScores) -> None:
    labels, gains, paper_gains = [], [], []
    for metric in METRICS:
        labels.append(METRIC_NAMES[metric])
        gains.append(scores.gain("single_llm", metric))
        paper_gains.append(AIDSAFE[metric] - SINGLE_LLM[metric])
    # An interval that crosses this line shows no clear difference.
    axes.axvline(0, color=GREY, linewidth=1)
    draw_estimates(axes, labels, {"this data": gains}, [STRONG])
    draw_marks(axes, paper_gains, "the paper's")
    legend(axes)


def _draw_spread(axes: Any, grades: pl.DataFrame) -> None:
    labels = []
    shares: dict[str, list[float]] = {name: [] for name in _SCORE_NAMES}
    for version in graded_versions(grades):
        labels.append(VERSION_NAMES[version])
        own_grades = grades.filter(pl.col("version") == version)
        scores = own_grades[_KEY_METRIC].to_list()
        for name in _SCORE_NAMES:
            share = scores.count(int(name)) / len(scores)
            shares[name].append(share)
    draw_shares(
        axes,
        labels,
        shares,
        [HOT, WARM, LIGHT, MIDDLE, STRONG],
    )
    legend(axes, columns=5)
