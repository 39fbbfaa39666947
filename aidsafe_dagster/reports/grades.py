"""Judges' grades as a frame, and the scores of the versions on the same prompts.

A mean over other prompts than its neighbour's compares prompts and not recipes. So each table rests on the prompts of
which every version has a grade, by every judge that it speaks of.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

import polars as pl

from aidsafe_dagster.quality.statistics import Estimate, mean_interval, paired_difference
from aidsafe_dagster.recipe.records import METRICS, Metric, Stage, Version
from aidsafe_dagster.reports.frames import Dataset, Shape

VERSIONS: tuple[Version, ...] = get_args(Version)


def grade_rows(dataset: Dataset) -> pl.DataFrame:
    """One line per grade: `prompt_id`, `prompt_kind`, `version`, `judge`, `model`, `refusal`, and the six scores."""
    scores = [pl.col(metric).struct.field("score").alias(metric) for metric in METRICS]
    return _unnested(dataset, "grades", lambda grades: grades.with_columns(scores))


def comparison_rows(dataset: Dataset) -> pl.DataFrame:
    """One line per comparison, with the fields of `Comparison`, `prompt_id` and `prompt_kind`."""
    return _unnested(dataset, "comparisons")


def ungraded_rows(dataset: Dataset) -> pl.DataFrame:
    """One line per question that got no valid answer, with the fields of `Ungraded`."""
    return _unnested(dataset, "ungraded")


def _unnested(dataset: Dataset, column: str, shape: Shape = lambda lines: lines) -> pl.DataFrame:
    def lines(rows: pl.DataFrame) -> pl.DataFrame:
        return shape(rows.filter(pl.col(column).list.len() > 0).explode(column).unnest(column))

    return dataset.map_batches(Stage.COT_GRADES, ("prompt_id", "prompt_kind", column), lines)


def versions_of(lines: pl.DataFrame) -> tuple[Version, ...]:
    """The versions that have any grade, in the order of the paper's columns."""
    return tuple(version for version in VERSIONS if version in set(lines["version"]))


def judges_of(lines: pl.DataFrame) -> tuple[str, ...]:
    return tuple(lines["judge"].unique().sort())


def on_the_same_prompts(lines: pl.DataFrame) -> pl.DataFrame:
    """The lines of the prompts of which every version has a grade by every judge."""
    due = len(versions_of(lines)) * len(judges_of(lines))
    return lines.filter(pl.struct("version", "judge").n_unique().over("prompt_id") == due)


@dataclass(frozen=True)
class VersionScores:
    """Mean scores of the versions on the same prompts."""

    n: int
    """Prompts."""
    versions: tuple[Version, ...]
    means: Mapping[tuple[Version, Metric], Estimate | None]
    gains: Mapping[tuple[Version, Metric], Estimate | None]
    """By how much the refined CoT is above the version, with a paired interval."""

    def mean(self, version: Version, metric: Metric) -> Estimate | None:
        return self.means.get((version, metric))

    def gain(self, against: Version, metric: Metric) -> Estimate | None:
        return self.gains.get((against, metric))


def score_versions(lines: pl.DataFrame, seed: int, resamples: int) -> VersionScores:
    """Scores of a prompt are means of its judges; intervals are over prompts."""
    same = on_the_same_prompts(lines)
    versions = versions_of(same)
    scores = {version: _scores(same, version) for version in versions}
    means = {
        (version, metric): mean_interval(scores[version][metric], seed, resamples)
        for version in versions
        for metric in METRICS
    }
    gains: dict[tuple[Version, Metric], Estimate | None] = {
        (version, metric): paired_difference(
            scores["refined"][metric], scores[version][metric], seed, resamples
        )
        for version in versions
        for metric in METRICS
        if version != "refined" and "refined" in versions
    }
    return VersionScores(same["prompt_id"].n_unique(), versions, means, gains)


def _scores(lines: pl.DataFrame, version: Version) -> dict[Metric, list[float]]:
    """Per metric, a score for each prompt, in the order of the prompts."""
    by_prompt = (
        lines.filter(pl.col("version") == version).group_by("prompt_id").agg(pl.col(METRICS).mean())
    )
    ordered = by_prompt.sort("prompt_id")
    return {metric: ordered[metric].to_list() for metric in METRICS}


def by_judge(lines: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The lines of each judge."""
    return {judge: lines.filter(pl.col("judge") == judge) for judge in judges_of(lines)}
