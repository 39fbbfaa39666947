"""The quality report: what the data is worth in the paper's terms, across batches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aidsafe_dagster.quality.self_judging import self_judging_warning
from aidsafe_dagster.recipe.fine_tune_splits import ScoreGate
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.reports.analysis import DatasetAnalysis
from aidsafe_dagster.reports.cost import StageTime, cost_section
from aidsafe_dagster.reports.counterfactuals import counterfactuals_section
from aidsafe_dagster.reports.deliberation import deliberation_section
from aidsafe_dagster.reports.facts import describe_dataset, simulation_warning
from aidsafe_dagster.reports.frames import Dataset
from aidsafe_dagster.reports.generations import generation_section
from aidsafe_dagster.reports.headlines import build_headlines, key_figures
from aidsafe_dagster.reports.judges import judges_section
from aidsafe_dagster.reports.losses import losses_section
from aidsafe_dagster.reports.pairs import pairs_section
from aidsafe_dagster.reports.planted import planted_section
from aidsafe_dagster.reports.policies import policies_section
from aidsafe_dagster.reports.refusals import refusals_section
from aidsafe_dagster.reports.rules import rules_section
from aidsafe_dagster.reports.sample import sample_deliberations
from aidsafe_dagster.reports.scores import scores_section
from aidsafe_dagster.reports.sections import Report, Section
from aidsafe_dagster.reports.settings import ReportSettings
from aidsafe_dagster.reports.thresholds import thresholds_section


@dataclass(frozen=True)
class ReportContext:
    """What a report cannot read in the lake."""

    policies: Policies
    gate: ScoreGate = ScoreGate()
    stage_times: Mapping[str, StageTime] = field(default_factory=dict)
    tokens_counted_by: str = ""
    currency: str = ""
    """Of the prices in the settings; empty if no server has prices."""
    planted: Sequence[Mapping[str, object]] = ()
    """How well the pipeline found the faults that the rehearsal engine planted."""
    further: Sequence[Section] = ()
    """Sections from elsewhere, such as a human review."""
    rows_url: str = ""
    """Where all rows can be read."""


def build_quality_report(
    dataset: Dataset, context: ReportContext, settings: ReportSettings, seed: int = 0
) -> Report:
    """Build every section from the data that exists. A section without data says what is missing.

    Raises:
        SetupError: a file of the lake is damaged.
    """
    analysis = DatasetAnalysis(dataset, seed, settings.resamples)
    policies = context.policies
    return Report(
        facts=describe_dataset(dataset, analysis.grades, policies),
        simulation_warning=simulation_warning(dataset),
        headlines=build_headlines(analysis),
        sections=_build_sections(analysis, context),
        figures=key_figures(analysis),
        deliberations=sample_deliberations(dataset, settings.deliberations),
        rules={rule: policies.rule(rule) for rule in policies.rule_ids},
        rows_url=context.rows_url.rstrip("/"),
    )


def _build_sections(analysis: DatasetAnalysis, context: ReportContext) -> list[Section]:
    dataset, grades = analysis.dataset, analysis.grades
    # The paper's table comes first; what explains it, and then what it cost, comes after.
    sections = [
        scores_section(
            grades,
            analysis.scores,
            analysis.scores_by_judge,
            self_judging_warning(analysis.self_judging),
        ),
        judges_section(
            grades,
            analysis.preferences,
            analysis.agreement,
            analysis.ungraded,
            analysis.comparisons,
        ),
        refusals_section(grades, analysis.refusals),
        pairs_section(dataset, analysis.seed, analysis.resamples),
        thresholds_section(grades, dataset.failures, context.gate),
        deliberation_section(dataset, context.tokens_counted_by),
        losses_section(dataset),
        cost_section(dataset, context.stage_times, context.currency),
        policies_section(dataset, context.policies),
        rules_section(dataset, context.policies),
    ]
    counterfactuals = counterfactuals_section(dataset)
    if counterfactuals:
        sections.append(counterfactuals)
    generation = generation_section(dataset)
    if generation:
        sections.append(generation)
    if context.planted:
        sections.append(planted_section(context.planted))
    return [*sections, *context.further]
