"""The experiment on targets as a section of the quality report: how many each one gave way on."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from aidsafe_dagster.ablations.experiment import ExperimentResult, TargetRow
from aidsafe_dagster.ablations.sections import (
    failures_table,
    intro_of,
    parts_table,
    title_of,
)
from aidsafe_dagster.engines.prices import format_money
from aidsafe_dagster.quality.statistics import (
    RESAMPLES,
    Estimate,
    mean_interval,
    proportion,
)
from aidsafe_dagster.reports.sections import (
    Section,
    Table,
    format_count,
    format_estimate,
    format_number,
    format_percentage,
)


@dataclass(frozen=True)
class TargetFigures:
    """What the search against one target came to."""

    name: str
    rows: Sequence[TargetRow]
    prompts: int
    """Of the sample, those that could not be searched included."""
    misled: Estimate | None
    """Of all prompts."""
    policy_score: Estimate | None
    """Of the worst answer, where there was a valid one."""
    margin: Estimate | None


def target_figures(
    result: ExperimentResult, seed: int = 0, resamples: int = RESAMPLES
) -> list[TargetFigures]:
    """Return the figures of each target, the configured one first."""
    prompts = len(result.experiment.prompt_ids)
    figures = []
    for variant in result.experiment.variants:
        rows = []
        for row in result.rows:
            assert isinstance(row, TargetRow)
            if row.variant == variant.name:
                rows.append(row)
        misled = sum(row.is_misled for row in rows)
        scores = [row.policy_score for row in rows if row.policy_score is not None]
        margins = [row.margin for row in rows if row.margin is not None]
        figures.append(
            TargetFigures(
                name=variant.name,
                rows=rows,
                prompts=prompts,
                misled=proportion(misled, prompts),
                policy_score=mean_interval(scores, seed, resamples),
                margin=mean_interval(margins, seed, resamples),
            )
        )
    return figures


def targets_section(
    result: ExperimentResult,
    distinction: str = "",
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Section:
    """Show what came of the experiment; for the arguments, see `variants_section`."""
    experiment = result.experiment
    figures = target_figures(result, seed, resamples)
    tables = [
        misled_table(figures),
        iterations_table(figures),
        target_cost_table(figures, experiment.currency),
        failures_table(result),
        parts_table(experiment),
    ]
    shown = [table for table in tables if table.rows]
    return Section(title_of(experiment), intro_of(experiment, distinction), shown)


def misled_table(figures: Sequence[TargetFigures]) -> Table:
    rows = []
    for target in figures:
        models = ", ".join(sorted({row.model for row in target.rows} - {""}))
        rows.append(
            (
                target.name,
                models,
                format_count(target.prompts),
                format_count(len(target.rows)),
                format_percentage(target.misled),
                format_estimate(target.policy_score),
                format_estimate(target.margin),
            )
        )
    columns = (
        "target",
        "model",
        "prompts",
        "searched",
        "misled",
        "policy score of the worst answer",
        "margin of the pairs",
    )
    note = (
        "Misled: an answer can be the rejected side of a pair; the share is of all prompts, with "
        "a Wilson interval. A prompt without a graded refined CoT has no chosen side, cannot be "
        "searched, and counts as one on which the target was not misled. Scores are 1 to 5, with "
        "bootstrap intervals."
    )
    return Table("Targets misled", columns, tuple(rows), note, text_columns=2)


def iterations_table(figures: Sequence[TargetFigures]) -> Table:
    """Scores by iteration: those of a whisperer that learns fall."""
    rows = []
    for target in figures:
        count = max((len(row.iteration_scores) for row in target.rows), default=0)
        for iteration in range(count):
            scores = _scores_at(target.rows, iteration)
            if scores:
                number = str(iteration + 1)
                score = format_number(fmean(scores))
                rows.append((target.name, number, format_count(len(scores)), score))
    columns = ("target", "iteration", "prompts", "mean policy score")
    return Table("By iteration", columns, tuple(rows))


def _scores_at(rows: Sequence[TargetRow], iteration: int) -> list[float]:
    scores = []
    for row in rows:
        if iteration < len(row.iteration_scores):
            score = row.iteration_scores[iteration]
            if score is not None:
                scores.append(score)
    return scores


def target_cost_table(figures: Sequence[TargetFigures], currency: str) -> Table:
    rows = []
    for target in figures:
        count = max(len(target.rows), 1)
        calls = sum(row.calls for row in target.rows) / count
        beliefs = sum(row.beliefs for row in target.rows) / count
        cells = [format_number(beliefs), format_number(calls)]
        if currency:
            cost = sum(row.cost for row in target.rows) / count
            cells.append(format_money(cost, currency))
        rows.append((target.name, *cells))
    money = ("cost",) if currency else ()
    note = "Per searched prompt, grading of the answers included."
    columns = ("target", "beliefs tried", "calls", *money)
    return Table("Cost", columns, tuple(rows), note)
