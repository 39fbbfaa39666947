"""The quality report: what the data is worth, in the paper's terms, across batches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aidsafe_dagster.recipe.fine_tune_splits import ScoreGate
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.reports.cost import StageTime, cost_section
from aidsafe_dagster.reports.deliberation import deliberation_section
from aidsafe_dagster.reports.facts import facts, simulated_warning
from aidsafe_dagster.reports.findings import Findings
from aidsafe_dagster.reports.frames import Dataset
from aidsafe_dagster.reports.headlines import figures, headlines
from aidsafe_dagster.reports.judges import judges_section
from aidsafe_dagster.reports.losses import losses_section
from aidsafe_dagster.reports.pairs import pairs_section
from aidsafe_dagster.reports.planted import planted_section
from aidsafe_dagster.reports.policies import policies_section
from aidsafe_dagster.reports.refusals import refusals_section
from aidsafe_dagster.reports.sample import sample
from aidsafe_dagster.reports.scores import scores_section
from aidsafe_dagster.reports.sections import Report, Section
from aidsafe_dagster.reports.settings import ReportSettings
from aidsafe_dagster.reports.thresholds import thresholds_section


@dataclass(frozen=True)
class ReportContext:
    """What a report cannot read in the lake."""

    policies: Policies
    gate: ScoreGate = ScoreGate()
    timed: Mapping[str, StageTime] = field(default_factory=dict)
    """By stage."""
    tokens_counted_by: str = ""
    planted: Sequence[Mapping[str, object]] = ()
    """How well the pipeline found what the rehearsal engine had planted."""
    further: Sequence[Section] = ()
    """Sections of others, such as a human review."""


def build_quality_report(
    dataset: Dataset, told: ReportContext, settings: ReportSettings, seed: int = 0
) -> Report:
    """Every section on what there is; a section without its stage says so.

    Raises:
        SetupError: a file of the lake is damaged.
    """
    found = Findings(dataset, seed, settings.resamples)
    sections = [
        scores_section(found.lines, found.measured, found.by_judge),
        judges_section(
            found.lines, found.preferences, found.agreement, found.ungraded, found.comparisons
        ),
        refusals_section(found.lines, found.refusals),
        pairs_section(dataset, seed, settings.resamples),
        thresholds_section(found.lines, told.gate),
        deliberation_section(dataset, told.tokens_counted_by),
        losses_section(dataset),
        cost_section(dataset, told.timed),
        policies_section(dataset, told.policies),
        *([planted_section(told.planted)] if told.planted else []),
        *told.further,
    ]
    return Report(
        facts=facts(dataset, found.lines, told.policies),
        simulated=simulated_warning(dataset),
        headlines=headlines(found),
        sections=sections,
        figures=figures(found),
        deliberations=sample(dataset, settings.deliberations),
        rules={rule: told.policies.rule(rule) for rule in told.policies.rule_ids},
    )
