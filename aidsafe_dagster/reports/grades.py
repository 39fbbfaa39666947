"""Judges' grades as a frame, and the scores of the versions on the same prompts.

Means over different prompts compare the prompts and not the recipes. Each table rests on the
prompts where every version has a grade by every judge that the table covers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

import polars as pl

from aidsafe_dagster.quality.self_judging import (
    WRITING_STAGES,
    SelfJudging,
    find_self_judging,
)
from aidsafe_dagster.quality.statistics import (
    Estimate,
    mean_interval,
    paired_difference,
)
from aidsafe_dagster.recipe.records import METRICS, Metric, Stage, Version
from aidsafe_dagster.reports.frames import Dataset

VERSIONS: tuple[Version, ...] = get_args(Version)


def grade_rows(dataset: Dataset) -> pl.DataFrame:
    """Return a row per grade.

    Columns: `prompt_id`, `prompt_kind`, `version`, `judge`, `model`, `refusal` and the six scores.
    """
    scores = [pl.col(metric).struct.field("score").alias(metric) for metric in METRICS]

    def explode_scores(rows: pl.DataFrame) -> pl.DataFrame:
        return _explode(rows, "grades").with_columns(scores)

    columns = ("prompt_id", "prompt_kind", "grades")
    return dataset.map_batches(Stage.COT_GRADES, columns, explode_scores)


def comparison_rows(dataset: Dataset) -> pl.DataFrame:
    """Return a row per comparison: the fields of `Comparison`, `prompt_id` and `prompt_kind`."""
    columns = ("prompt_id", "prompt_kind", "comparisons")
    return dataset.map_batches(
        Stage.COT_GRADES, columns, lambda rows: _explode(rows, "comparisons")
    )


def ungraded_rows(dataset: Dataset) -> pl.DataFrame:
    """Return a row per question without a valid answer.

    Columns: the fields of `Ungraded`, `prompt_id` and `prompt_kind`.
    """
    columns = ("prompt_id", "prompt_kind", "ungraded")
    return dataset.map_batches(
        Stage.COT_GRADES,
        columns,
        lambda rows: _explode(rows, "ungraded"),
    )


def _explode(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    """Return a row per struct in a column of lists, its fields as columns."""
    # Polars turns an empty list into a row of nulls.
    non_empty = rows.filter(pl.col(column).list.len() > 0)
    return non_empty.explode(column).unnest(column)


def self_judging(dataset: Dataset, grades: pl.DataFrame) -> tuple[SelfJudging, ...]:
    """Return the models that took part in writing rows that they graded."""
    writers = [dataset.rows(stage, "prompt_id", "model") for stage in WRITING_STAGES]
    return find_self_judging(grades, writers)


def graded_versions(grades: pl.DataFrame) -> tuple[Version, ...]:
    """Return the versions that have a grade, in the order of the paper's columns."""
    present = set(grades["version"])
    return tuple(version for version in VERSIONS if version in present)


def list_judges(grades: pl.DataFrame) -> tuple[str, ...]:
    return tuple(grades["judge"].unique().sort())


def on_the_same_prompts(grades: pl.DataFrame) -> pl.DataFrame:
    """Return the grades of the prompts where every version has a grade by every judge."""
    # Of the versions that have any grade: a stage that was not run does not empty the table.
    expected = len(graded_versions(grades)) * len(list_judges(grades))
    grades_per_prompt = pl.struct("version", "judge").n_unique().over("prompt_id")
    return grades.filter(grades_per_prompt == expected)


@dataclass(frozen=True)
class VersionScores:
    """Mean scores of the versions on the same prompts."""

    n: int
    """Number of prompts."""
    versions: tuple[Version, ...]
    means: Mapping[tuple[Version, Metric], Estimate | None]
    gains: Mapping[tuple[Version, Metric], Estimate | None]
    """How far the refined CoT is above the version, with a paired interval."""

    def mean(self, version: Version, metric: Metric) -> Estimate | None:
        return self.means.get((version, metric))

    def gain(self, against: Version, metric: Metric) -> Estimate | None:
        return self.gains.get((against, metric))


def score_versions(grades: pl.DataFrame, seed: int, resamples: int) -> VersionScores:
    """Compute mean scores and gains, with intervals over prompts.

    The score of a prompt is the mean of its judges.
    """
    comparable = on_the_same_prompts(grades)
    versions = graded_versions(comparable)
    scores = {version: _scores_by_metric(comparable, version) for version in versions}
    means: dict[tuple[Version, Metric], Estimate | None] = {}
    gains: dict[tuple[Version, Metric], Estimate | None] = {}
    for version in versions:
        for metric in METRICS:
            own = scores[version][metric]
            means[version, metric] = mean_interval(own, seed, resamples)
            if version != "refined" and "refined" in versions:
                refined = scores["refined"][metric]
                gains[version, metric] = paired_difference(
                    refined,
                    own,
                    seed,
                    resamples,
                )
    return VersionScores(comparable["prompt_id"].n_unique(), versions, means, gains)


def _scores_by_metric(
    grades: pl.DataFrame, version: Version
) -> dict[Metric, list[float]]:
    """Return the scores of each metric, a value per prompt, in the order of the prompt ids."""
    by_prompt = grades.filter(pl.col("version") == version).group_by("prompt_id")
    # Judges are averaged first: two judges of one prompt are not two observations. The order of
    # the prompts pairs the versions.
    means = by_prompt.agg(pl.col(METRICS).mean()).sort("prompt_id")
    return {metric: means[metric].to_list() for metric in METRICS}


def split_by_judge(grades: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Return the grades of each judge."""
    return {
        judge: grades.filter(pl.col("judge") == judge) for judge in list_judges(grades)
    }
