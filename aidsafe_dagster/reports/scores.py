"""Section: the six scores of the chains of thought, as in the paper's table."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from aidsafe_dagster.recipe.records import METRICS, Metric, Version
from aidsafe_dagster.reports.grades import VERSIONS, VersionScores, on_the_same_prompts, versions_of
from aidsafe_dagster.reports.paper import AIDSAFE, NAMES, SINGLE_LLM, WORDING
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
    format_number,
    signed,
    with_interval,
)

TITLE = "Scores"
_AGAINST: tuple[Version, ...] = ("single_llm", "deliberated")
_PAPER_NOTE = (
    "The paper's figures (arXiv 2505.21784) are of other prompts, models and judges: a landmark, not a target. There, "
    "only the faithfulness of the CoT to the policies tells the two apart."
)


def scores_section(
    lines: pl.DataFrame, measured: VersionScores, by_judge: dict[str, VersionScores]
) -> Section:
    """The paper's table for this data, by judge as well where there are two, and how the scores are spread."""
    if not measured.n:
        return Section(TITLE, _nothing(lines))
    tables = [main_table(measured, _judged_by(lines))]
    if len(by_judge) > 1:
        tables.append(_judge_table(by_judge))
    return Section(
        TITLE, _intro(lines, measured), tables, _plots(on_the_same_prompts(lines), measured)
    )


def _nothing(lines: pl.DataFrame) -> str:
    if not lines.height:
        return "No row was graded yet (stage cot_grades)."
    return "No prompt has a grade of every version by every judge, so there is nothing to compare on the same prompts."


def _intro(lines: pl.DataFrame, measured: VersionScores) -> str:
    graded = lines.filter(pl.col("version") == "refined")["prompt_id"].n_unique()
    said = (
        f"Mean scores from 1 to 5 with 95 % bootstrap intervals, on the {format_count(measured.n)} prompts of which every "
        f"version has a grade by every judge ({format_count(graded)} refined rows are graded in all)."
    )
    missing = [NAMES[version] for version in VERSIONS if version not in measured.versions]
    return f"{said} Not graded, so not compared: {', '.join(missing)}." if missing else said


def _judged_by(lines: pl.DataFrame) -> str:
    pairs = lines.select("judge", "model").unique().sort("judge", "model").iter_rows()
    return ", ".join(f"{judge} ({model})" for judge, model in pairs)


def main_table(measured: VersionScores, judged_by: str) -> Table:
    """The paper's table for this data, its own figures beside."""
    rows = [
        (
            WORDING[metric],
            *(with_interval(measured.mean(version, metric)) for version in VERSIONS),
            *(with_interval(measured.gain(version, metric), signed) for version in _AGAINST),
            format_number(SINGLE_LLM[metric]),
            format_number(AIDSAFE[metric]),
        )
        for metric in METRICS
    ]
    columns = (
        "metric",
        *(NAMES[version] for version in VERSIONS),
        *(f"refined \u2212 {NAMES[version]}" for version in _AGAINST),
        "paper: single LLM",
        "paper: AIDSAFE",
    )
    judges = "Mean of the judges" if "," in judged_by else "Judge"
    note = f"n = {format_count(measured.n)} prompts. {judges}: {judged_by}. Differences are paired. {_PAPER_NOTE}"
    return Table(
        "The paper's table for this data",
        columns,
        tuple(rows),
        note,
        marked=_marked("policy_to_cot"),
    )


def _marked(metric: Metric) -> frozenset[int]:
    return frozenset({METRICS.index(metric)})


def _judge_table(by_judge: dict[str, VersionScores]) -> Table:
    rows = [
        (
            judge,
            WORDING[metric],
            *(with_interval(measured.mean(version, metric)) for version in VERSIONS),
            with_interval(measured.gain("single_llm", metric), signed),
            format_count(measured.n),
        )
        for judge, measured in by_judge.items()
        for metric in METRICS
    ]
    columns = (
        "judge",
        "metric",
        *(NAMES[version] for version in VERSIONS),
        "refined \u2212 single LLM",
        "n",
    )
    return Table(
        "By judge",
        columns,
        tuple(rows),
        "Each on the prompts of which it graded every version.",
        words=2,
    )


def _plots(lines: pl.DataFrame, measured: VersionScores) -> list[Plot]:
    spread = Plot(
        "How faithful the CoT is to the policies: share of grades",
        lambda axes: _spread(axes, lines),
        1.9,
    )
    if "single_llm" not in measured.versions:
        return [spread]
    return [
        Plot("Refined minus single LLM, in points", lambda axes: _gains(axes, measured)),
        spread,
    ]


def _gains(axes: Any, measured: VersionScores) -> None:
    gains = [measured.gain("single_llm", metric) for metric in METRICS]
    axes.axvline(0, color=GREY, linewidth=1)
    draw_estimates(axes, [WORDING[metric] for metric in METRICS], {"this data": gains}, [STRONG])
    draw_marks(axes, [AIDSAFE[metric] - SINGLE_LLM[metric] for metric in METRICS], "the paper's")
    legend(axes)


def _spread(axes: Any, lines: pl.DataFrame) -> None:
    versions = versions_of(lines)
    shares = {
        str(score): [_share(lines, version, score) for version in versions] for score in range(1, 6)
    }
    draw_shares(
        axes, [NAMES[version] for version in versions], shares, [HOT, WARM, LIGHT, MIDDLE, STRONG]
    )
    legend(axes, columns=5)


def _share(lines: pl.DataFrame, version: Version, score: int) -> float:
    scores: Sequence[int] = lines.filter(pl.col("version") == version)["policy_to_cot"].to_list()
    return scores.count(score) / len(scores)
