"""What several parts of a quality report speak of, computed once."""

from dataclasses import dataclass
from functools import cached_property

import polars as pl

from aidsafe_dagster.recipe.records import Metric
from aidsafe_dagster.reports.frames import Dataset
from aidsafe_dagster.reports.grades import (
    VersionScores,
    by_judge,
    comparison_rows,
    grade_rows,
    score_versions,
    ungraded_rows,
)
from aidsafe_dagster.reports.judges import Agreement, Preference, agreement, preferences
from aidsafe_dagster.reports.refusals import Rates, refusal_rates


@dataclass(frozen=True)
class Findings:
    dataset: Dataset
    seed: int
    resamples: int

    @cached_property
    def lines(self) -> pl.DataFrame:
        return grade_rows(self.dataset)

    @cached_property
    def comparisons(self) -> pl.DataFrame:
        return comparison_rows(self.dataset)

    @cached_property
    def ungraded(self) -> pl.DataFrame:
        return ungraded_rows(self.dataset)

    @cached_property
    def measured(self) -> VersionScores:
        return score_versions(self.lines, self.seed, self.resamples)

    @cached_property
    def by_judge(self) -> dict[str, VersionScores]:
        return {
            judge: score_versions(lines, self.seed, self.resamples)
            for judge, lines in by_judge(self.lines).items()
        }

    @cached_property
    def preferences(self) -> list[Preference]:
        return preferences(self.comparisons)

    @cached_property
    def agreement(self) -> dict[Metric, Agreement]:
        return agreement(self.lines)

    @cached_property
    def refusals(self) -> Rates:
        return refusal_rates(self.lines)
