"""What the variants of an experiment add up to. Every prompt of the sample is in each denominator.

A prompt that failed has the lowest score, covers no policy and gives no usable row. Otherwise a
variant that fails on the hard prompts would look better for it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from aidsafe_dagster.ablations.experiment import (
    Experiment,
    ExperimentResult,
    VariantFailure,
)
from aidsafe_dagster.quality.statistics import (
    RESAMPLES,
    Estimate,
    mean_interval,
    paired_difference,
    proportion,
)
from aidsafe_dagster.recipe.ablations import AblationRow
from aidsafe_dagster.recipe.records import METRICS, Usage

LOWEST = 1.0
"""The score of a prompt that failed."""
SCORES = (*METRICS, "policy_score")
USABLE, COVERAGE = "usable", "policy_coverage"


@dataclass(frozen=True)
class VariantFigures:
    """The figures of one variant. Without a number of their own, they are of all prompts."""

    name: str
    prompts: int
    rows: Sequence[AblationRow]
    failures: Sequence[VariantFailure]
    scores: Mapping[str, Estimate | None]
    """By metric, and the policy score."""
    scores_of_rows: Mapping[str, Estimate | None]
    """The same without the prompts that failed."""
    differences: Mapping[str, Estimate | None]
    """From the reference, on the same prompts: scores, usable rows, coverage. Empty for itself."""
    usable: Estimate | None
    coverage: Estimate | None
    stalled: Estimate | None
    """None for a variant that does not deliberate."""
    diversity: Estimate | None
    """Of the prompts on which several agents spoke in a round."""
    usage: Usage
    """Of all prompts, those that failed included; without grading."""
    usable_rows: int
    rules_cited: int
    policies_cited: int
    deliberations: Sequence[AblationRow] = field(default_factory=tuple)
    """Rows of which agents spoke."""


def variant_figures(
    result: ExperimentResult, seed: int = 0, resamples: int = RESAMPLES
) -> list[VariantFigures]:
    """Return the figures of each variant, the reference first."""
    experiment = result.experiment
    rows_by_variant: dict[str, dict[str, AblationRow]] = {}
    for row in result.rows:
        assert isinstance(row, AblationRow)
        rows_by_variant.setdefault(row.variant, {})[row.prompt_id] = row
    reference = rows_by_variant.get(experiment.variants[0].name, {})
    figures = []
    for variant in experiment.variants:
        failures = [row for row in result.failures if row.variant == variant.name]
        rows = rows_by_variant.get(variant.name, {})
        is_reference = variant is experiment.variants[0]
        others = None if is_reference else reference
        intervals = _Intervals(experiment, seed, resamples)
        figures.append(_figures(variant.name, rows, others, failures, intervals))
    return figures


@dataclass(frozen=True)
class _Intervals:
    experiment: Experiment
    seed: int
    resamples: int

    def mean(self, values: Sequence[float]) -> Estimate | None:
        return mean_interval(values, self.seed, self.resamples)

    def difference(
        self, values: Sequence[float], against: Sequence[float]
    ) -> Estimate | None:
        return paired_difference(values, against, self.seed, self.resamples)


def _figures(
    name: str,
    rows: Mapping[str, AblationRow],
    reference: Mapping[str, AblationRow] | None,
    failures: Sequence[VariantFailure],
    intervals: _Intervals,
) -> VariantFigures:
    experiment = intervals.experiment
    prompts = len(experiment.prompt_ids)
    of_variant = list(rows.values())
    measures = _measures(experiment)
    scores, scores_of_rows, differences = {}, {}, {}
    for measure, value_of in measures.items():
        values = [value_of(rows.get(prompt)) for prompt in experiment.prompt_ids]
        if measure in SCORES:
            scores[measure] = intervals.mean(values)
            scores_of_rows[measure] = intervals.mean(
                [value_of(row) for row in of_variant]
            )
        if reference is not None:
            against = [value_of(reference.get(id_)) for id_ in experiment.prompt_ids]
            differences[measure] = intervals.difference(values, against)
    usable_rows = sum(is_usable(row, experiment.floors) for row in of_variant)
    coverage = [measures[COVERAGE](rows.get(id_)) for id_ in experiment.prompt_ids]
    deliberations = [row for row in of_variant if row.turns]
    stalls = sum(bool(row.stalled) for row in deliberations)
    diversities = [row.diversity for row in of_variant if row.diversity is not None]
    rules = {rule for row in of_variant for rule in row.cited_rules}
    usage = sum((row.usage for row in of_variant), Usage())
    return VariantFigures(
        name=name,
        prompts=prompts,
        rows=of_variant,
        failures=failures,
        scores=scores,
        scores_of_rows=scores_of_rows,
        differences=differences,
        usable=proportion(usable_rows, prompts),
        coverage=intervals.mean(coverage),
        stalled=proportion(stalls, prompts) if deliberations else None,
        diversity=intervals.mean(diversities),
        usage=sum((failure.usage for failure in failures), usage),
        usable_rows=usable_rows,
        rules_cited=len(rules),
        policies_cited=len({rule.rpartition(".")[0] for rule in rules}),
        deliberations=deliberations,
    )


def is_usable(row: AblationRow, floors: Mapping[str, float]) -> bool:
    """Tell whether a row would pass the score floors of the settings."""
    return all(getattr(row, metric) >= floor for metric, floor in floors.items())


_ValueOf = Callable[[AblationRow | None], float]


def _measures(experiment: Experiment) -> dict[str, _ValueOf]:
    """Return, by name, what is measured of a prompt; None stands for one that failed."""
    measures: dict[str, _ValueOf] = {}
    for metric in SCORES:
        measures[metric] = partial(_score, metric)
    measures[USABLE] = partial(_usable, experiment.floors)
    measures[COVERAGE] = _coverage
    return measures


def _score(metric: str, row: AblationRow | None) -> float:
    return LOWEST if row is None else float(getattr(row, metric))


def _usable(floors: Mapping[str, float], row: AblationRow | None) -> float:
    return 0.0 if row is None else float(is_usable(row, floors))


def _coverage(row: AblationRow | None) -> float:
    return 0.0 if row is None else row.policy_coverage
