"""An experiment as a section of the quality report: scores, coverage, diversity, cost, failures."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from aidsafe_dagster.ablations.experiment import Experiment, ExperimentResult
from aidsafe_dagster.ablations.figures import (
    COVERAGE,
    SCORES,
    USABLE,
    VariantFigures,
    variant_figures,
)
from aidsafe_dagster.engines.prices import format_money
from aidsafe_dagster.quality.statistics import RESAMPLES, mean_interval
from aidsafe_dagster.recipe.records import Usage
from aidsafe_dagster.reports.paper import METRIC_NAMES
from aidsafe_dagster.reports.plots import STRONG, draw_estimates
from aidsafe_dagster.reports.sections import (
    EMPTY_CELL,
    Plot,
    Section,
    Table,
    format_count,
    format_estimate,
    format_number,
    format_percentage,
    format_quantity,
    format_signed,
)

QUESTIONS: Mapping[str, str] = {
    "rounds": "How many rounds of deliberation pay? Deliberation is cut off after so many.",
    "refiner": "What does the refiner save, and what does it cost in quality?",
    "baseline": "What does deliberation add to a single call of one model?",
    "round_table": "Agents in turn, or a round table at which all judge the same state?",
    "models": "Which models do for which roles, and does a mixed pair do better than one model?",
    "context": "What should an agent be shown: the state of the row, or all that was said?",
    "targets": "Which targets does the ear-whisperer mislead, and how far?",
}
_SCORE_NAMES: dict[str, str] = {"policy_score": "policy score"}
_SCORE_NAMES |= {str(metric): name for metric, name in METRIC_NAMES.items()}
_DIFFERENCE_NAMES: dict[str, str] = {
    **_SCORE_NAMES,
    USABLE: "usable rows",
    COVERAGE: "policy coverage",
}
_SHARES = (USABLE, COVERAGE)
_COMPARED = ("policy_to_cot", "policy_to_response", "policy_score", *_SHARES)
"""Figures of which the difference is shown: those on which variants do differ, and a page holds."""
SIMULATED = "Rehearsal: simulated by rule, so the figures say nothing about any model."


def title_of(experiment: Experiment) -> str:
    """Return the title of its section and page."""
    return f"Experiment: {experiment.kind.replace('_', ' ')} ({experiment.key})"


def intro_of(experiment: Experiment, distinction: str = "") -> str:
    """Return what was asked, on what, and how this run of it differs from others."""
    prompts = format_quantity(len(experiment.prompt_ids), "prompt", "prompts")
    batches = format_quantity(len(experiment.batches), "batch", "batches")
    sentences = [
        QUESTIONS[experiment.kind],
        f"A sample of {prompts} from {batches}, the same for every variant, whatever became of "
        "them in the pipeline. Every prompt has one attempt.",
    ]
    if distinction:
        sentences.append(f"Unlike other runs of this experiment: {distinction}.")
    if experiment.simulated:
        sentences.insert(0, SIMULATED)
    return " ".join(sentences)


def variants_section(
    result: ExperimentResult,
    distinction: str = "",
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Section:
    """Show what came of an experiment.

    Args:
        result: of any experiment but that on targets.
        distinction: from other runs of it, in words.
        seed: of the intervals.
        resamples: of the bootstrap.
    """
    experiment = result.experiment
    figures = variant_figures(result, seed, resamples)
    tables = [
        scores_table(figures),
        differences_table(figures),
        coverage_table(figures),
        _scores_of_rows_table(figures),
        diversity_table(figures),
        cost_table(figures, experiment.currency),
        failures_table(result),
        parts_table(experiment),
    ]
    shown = [table for table in tables if table.rows]
    return Section(
        title_of(experiment),
        intro_of(experiment, distinction),
        shown,
        [_plot(figures)],
    )


def scores_table(figures: Sequence[VariantFigures]) -> Table:
    rows = []
    for variant in figures:
        cells = [format_estimate(variant.scores[name]) for name in SCORES]
        failed = variant.prompts - len(variant.rows)
        rows.append((variant.name, format_count(variant.prompts), str(failed), *cells))
    note = (
        "Mean of the judges, 1 to 5, with 95 % bootstrap intervals. A prompt that failed counts "
        "with the lowest score, 1."
    )
    columns = ("variant", "prompts", "failed", *(_SCORE_NAMES[name] for name in SCORES))
    return Table("Scores over all prompts", columns, tuple(rows), note)


def differences_table(figures: Sequence[VariantFigures]) -> Table:
    rows = []
    for variant in figures[1:]:
        cells = []
        for name in _COMPARED:
            write = _points if name in _SHARES else format_signed
            cells.append(format_estimate(variant.differences.get(name), write))
        rows.append((variant.name, *cells))
    note = (
        "Paired, prompt by prompt, over all prompts, with 95 % bootstrap intervals. Shares in "
        "percentage points."
    )
    columns = ("variant", *(_DIFFERENCE_NAMES[name] for name in _COMPARED))
    return Table(f"Difference from «{figures[0].name}»", columns, tuple(rows), note)


def coverage_table(figures: Sequence[VariantFigures]) -> Table:
    rows = []
    for variant in figures:
        refusals = sum(row.refusal == "full" for row in variant.rows)
        consensus = sum(row.outcome == "consensus" for row in variant.rows)
        has_deliberations = bool(variant.deliberations)
        rows.append(
            (
                variant.name,
                format_percentage(variant.usable),
                format_percentage(variant.coverage),
                f"{variant.policies_cited} / {variant.rules_cited}",
                format_percentage(variant.stalled),
                format_count(consensus) if has_deliberations else EMPTY_CELL,
                format_count(refusals),
            )
        )
    columns = (
        "variant",
        "usable rows",
        "policy coverage",
        "policies / rules cited",
        "stalled",
        "ended by consensus",
        "full refusals",
    )
    note = (
        "Shares of all prompts, with 95 % intervals. Usable: above the score floors in force. "
        "Policy coverage: the part of its applicable policies that a CoT cites. Stalled: the "
        "agents agreed before anyone had added anything."
    )
    return Table("Usable rows, policy coverage, stalls", columns, tuple(rows), note)


def _scores_of_rows_table(figures: Sequence[VariantFigures]) -> Table:
    rows = []
    # Without a failure it would be the first table once more.
    if any(variant.failures for variant in figures):
        for variant in figures:
            estimates = variant.scores_of_rows
            cells = [format_estimate(estimates[name]) for name in SCORES]
            rows.append((variant.name, format_count(len(variant.rows)), *cells))
    columns = ("variant", "rows", *(_SCORE_NAMES[name] for name in SCORES))
    note = "Without the prompts that failed, which are others for each variant."
    return Table("Scores of the rows alone", columns, tuple(rows), note)


def diversity_table(figures: Sequence[VariantFigures]) -> Table:
    rows = []
    for variant in figures:
        if variant.diversity is None:
            continue
        shared = sum(row.shared_rounds for row in variant.rows)
        split = sum(row.split_rounds for row in variant.rows)
        voices = [row.voices for row in variant.deliberations]
        rows.append(
            (
                variant.name,
                format_count(variant.diversity.n),
                format_estimate(variant.diversity),
                f"{split} of {shared}",
                format_estimate(mean_interval(voices)),
            )
        )
    columns = ("variant", "prompts", "diversity", "split rounds", "voices")
    note = (
        "Of prompts on which several agents spoke in a round. Diversity: how different the words "
        "are that two agents of a round would add, 0 to 1 (Jaccard distance; an agent that agrees "
        "adds none). Split: one agreed and another did not. Voices: agents with a thought in the "
        "deliberated CoT."
    )
    return Table("Diversity of the agents", columns, tuple(rows), note)


def cost_table(figures: Sequence[VariantFigures], currency: str) -> Table:
    money = ("cost per prompt", "cost per usable row") if currency else ()
    rows = []
    for variant in figures:
        tokens = mean_interval([row.cot_tokens for row in variant.rows])
        turns = [row.turns for row in variant.rows]
        cells = [format_estimate(tokens, _whole), format_estimate(mean_interval(turns))]
        cells += _usage_cells(variant.usage, variant.prompts)
        if currency:
            cost = variant.usage.cost
            cells.append(format_money(cost / max(variant.prompts, 1), currency))
            cells.append(_cost_per_usable_row(cost, variant.usable_rows, currency))
        rows.append((variant.name, *cells))
    columns = (
        "variant",
        "CoT tokens",
        "turns",
        "calls",
        "tokens in",
        "cached",
        "tokens out",
        "reasoning",
        *money,
    )
    note = (
        "CoT tokens and turns per row; calls and tokens per prompt, failed ones included, without "
        "grading. What the journal answered counts as if it had been asked."
    )
    return Table("Cost", columns, tuple(rows), note)


def _usage_cells(usage: Usage, prompts: int) -> list[str]:
    count = max(prompts, 1)
    return [
        format_number(usage.calls / count),
        _whole(usage.prompt_tokens / count),
        _whole(usage.cached_tokens / count),
        _whole(usage.completion_tokens / count),
        _whole(usage.reasoning_tokens / count),
    ]


def _cost_per_usable_row(cost: float, usable_rows: int, currency: str) -> str:
    if not usable_rows:
        return EMPTY_CELL
    return format_money(cost / usable_rows, currency)


def failures_table(result: ExperimentResult) -> Table:
    counts: Counter[tuple[str, str, str]] = Counter()
    for failure in result.failures:
        counts[failure.variant, failure.stage, str(failure.reason)] += 1
    order = [variant.name for variant in result.experiment.variants]
    lines = sorted(counts.items(), key=lambda line: (order.index(line[0][0]), -line[1]))
    rows = [(*names, format_count(count)) for names, count in lines]
    columns = ("variant", "stage", "reason", "prompts")
    return Table("Prompts that failed", columns, tuple(rows), text_columns=3)


def parts_table(experiment: Experiment) -> Table:
    """Show what the variants were made under, as far as they differ."""
    variants = experiment.variants
    rows = []
    for part in differing_parts([variant.parts for variant in variants]):
        cells = [variant.parts.get(part, EMPTY_CELL) for variant in variants]
        rows.append((part, *cells))
    columns = ("", *(variant.name for variant in variants))
    title = "What the variants differ in"
    return Table(title, columns, tuple(rows), text_columns=len(columns))


def differing_parts(sides: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the parts that several sides have and that are not the same on all of these."""
    names = dict.fromkeys(name for side in sides for name in side)
    # A single call has nothing of a deliberation, which says nothing about its settings.
    return [name for name in names if len(values_of(sides, name)) > 1]


def values_of(sides: Sequence[Mapping[str, str]], name: str) -> set[str]:
    """Return the values of a part on the sides that have it."""
    return {side[name] for side in sides if name in side}


def _plot(figures: Sequence[VariantFigures]) -> Plot:
    def draw(axes: Any) -> None:
        labels = [variant.name for variant in figures]
        estimates = [variant.scores["policy_to_cot"] for variant in figures]
        draw_estimates(axes, labels, {"": estimates}, [STRONG])
        axes.set_xlabel("CoT faithful to policy, 1–5, failed prompts counted as 1")

    height = 0.8 + 0.4 * len(figures)
    return Plot("CoT faithful to policy by variant, with 95 % intervals", draw, height)


def _whole(value: float | None) -> str:
    return format_number(value, 0)


def _points(value: float | None) -> str:
    return format_signed(None if value is None else 100 * value, 1)
