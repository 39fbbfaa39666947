"""Statistics that several sections of the quality report share. Each is computed once."""

from dataclasses import dataclass
from functools import cached_property

import polars as pl

from aidsafe_dagster.quality.self_judging import SelfJudging
from aidsafe_dagster.recipe.records import Metric
from aidsafe_dagster.reports.frames import Dataset
from aidsafe_dagster.reports.grades import (
    VersionScores,
    comparison_rows,
    grade_rows,
    score_versions,
    self_judging,
    split_by_judge,
    ungraded_rows,
)
from aidsafe_dagster.reports.judges import (
    Agreement,
    Preference,
    compute_agreement,
    compute_preferences,
)
from aidsafe_dagster.reports.refusals import RefusalRates, compute_refusal_rates


@dataclass(frozen=True)
class DatasetAnalysis:
    """What the judges' grades and comparisons of a dataset amount to."""

    dataset: Dataset
    seed: int
    resamples: int

    @cached_property
    def grades(self) -> pl.DataFrame:
        return grade_rows(self.dataset)

    @cached_property
    def self_judging(self) -> tuple[SelfJudging, ...]:
        return self_judging(self.dataset, self.grades)

    @cached_property
    def comparisons(self) -> pl.DataFrame:
        return comparison_rows(self.dataset)

    @cached_property
    def ungraded(self) -> pl.DataFrame:
        return ungraded_rows(self.dataset)

    @cached_property
    def scores(self) -> VersionScores:
        return score_versions(self.grades, self.seed, self.resamples)

    # Judge by judge, the prompts may be others: each judge has gaps of its own.
    @cached_property
    def scores_by_judge(self) -> dict[str, VersionScores]:
        scores = {}
        for judge, grades in split_by_judge(self.grades).items():
            scores[judge] = score_versions(grades, self.seed, self.resamples)
        return scores

    @cached_property
    def preferences(self) -> list[Preference]:
        return compute_preferences(self.comparisons)

    @cached_property
    def agreement(self) -> dict[Metric, Agreement]:
        return compute_agreement(self.grades)

    @cached_property
    def refusals(self) -> RefusalRates:
        return compute_refusal_rates(self.grades)
