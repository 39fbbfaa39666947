"""What the terminal shows of an experiment: before it begins, and when it is over."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from aidsafe_dagster.ablations.experiment import TARGETS, ExperimentResult
from aidsafe_dagster.ablations.figures import VariantFigures, variant_figures
from aidsafe_dagster.ablations.sections import QUESTIONS
from aidsafe_dagster.ablations.target_section import target_figures
from aidsafe_dagster.cli.console import (
    REHEARSAL,
    console,
    print_paragraph,
    quantity,
    short_count,
)
from aidsafe_dagster.engines.prices import format_money
from aidsafe_dagster.quality.statistics import Estimate
from aidsafe_dagster.recipe.records import Prompt, Usage
from aidsafe_dagster.reports.sections import (
    EMPTY_CELL,
    format_estimate,
    format_number,
    format_signed,
)
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.stages.ablation_forecast import Forecast

_DIVERSE = ("round_table", "models")
"""Experiments on who sits at the table."""
_ON_MODELS = ("models", TARGETS)


def print_forecasts(
    kind: str,
    forecasts: Sequence[Forecast],
    sample: Sequence[Prompt],
    settings: Settings,
) -> None:
    """Print what an experiment will do, and what it takes at most."""
    batches = len({prompt.batch for prompt in sample})
    print_paragraph(QUESTIONS[kind])
    print_paragraph(
        f"On {quantity(len(sample), 'prompt')} of {quantity(batches, 'batch')}, those that failed "
        f"included, {quantity(len(forecasts), 'variant')}:"
    )
    for forecast in forecasts:
        print_paragraph(f"{forecast.name}: {_calls(forecast, settings)}", indent=2)
    if kind in _ON_MODELS and settings.engine == "rehearsal":
        print_paragraph(
            "The rehearsal engine is no model, and answers in the name of every one alike."
        )
    total = sum((forecast.usage for forecast in forecasts), Usage())
    recorded = sum(forecast.recorded for forecast in forecasts)
    if not total.calls:
        print_paragraph(f"The journal has all {recorded:,} answers; nothing is asked.")
        return
    line = f"Together: at most {_usage(total, settings)}."
    why = "if no agent ever agrees and every answer is valid"
    if kind == TARGETS:
        why = "if every belief of a search that is not recorded to its end is tried"
    print_paragraph(f"{line} That is {why}.")


def _calls(forecast: Forecast, settings: Settings) -> str:
    if not forecast.usage.calls:
        return "all in the journal" if forecast.recorded else "nothing to ask"
    line = f"at most {_usage(forecast.usage, settings)}"
    if forecast.recorded:
        line += f"; {forecast.recorded:,} more are in the journal"
    return line


def _usage(usage: Usage, settings: Settings) -> str:
    line = (
        f"{usage.calls:,} calls, {short_count(usage.prompt_tokens)} tokens in, "
        f"{short_count(usage.completion_tokens)} out"
    )
    if settings.currency:
        line += f", {format_money(usage.cost, settings.currency)}"
    return line


def print_result(result: ExperimentResult, settings: Settings) -> None:
    """Print the experiment as small tables."""
    seed, resamples = settings.seed, settings.report.resamples
    if result.experiment.kind == TARGETS:
        console.print(_targets_table(result, seed, resamples))
    else:
        figures = variant_figures(result, seed, resamples)
        console.print(_scores_table(figures))
        console.print(_behaviour_table(figures, result))
    if result.experiment.simulated:
        console.print(REHEARSAL)


def _scores_table(figures: Sequence[VariantFigures]) -> Table:
    table = _table("", "made", "policy score", "difference", "usable")
    for variant in figures:
        difference = EMPTY_CELL
        if variant.differences:
            estimate = variant.differences["policy_score"]
            difference = format_estimate(estimate, format_signed)
        table.add_row(
            Text(variant.name),
            f"{len(variant.rows)}/{variant.prompts}",
            format_estimate(variant.scores["policy_score"]),
            difference,
            _percentage(variant.usable),
        )
    table.caption = Text(
        "Policy score: 1 to 5, a prompt that failed counts as 1. Difference: paired, from the "
        "first. Usable: above the score floors. With 95 % intervals.",
        style="",
    )
    return table


def _behaviour_table(
    figures: Sequence[VariantFigures], result: ExperimentResult
) -> Table:
    is_diverse = result.experiment.kind in _DIVERSE
    currency = result.experiment.currency
    fourth = "diversity" if is_diverse else "CoT tokens"
    cost = f"{currency}/prompt" if currency else "calls"
    table = _table("", "policies cited", "stalled", fourth, cost)
    for variant in figures:
        prompts = max(variant.prompts, 1)
        per_prompt = format_number(variant.usage.calls / prompts, 1)
        if currency:
            per_prompt = format_money(variant.usage.cost / prompts)
        table.add_row(
            Text(variant.name),
            _percentage(variant.coverage),
            _percentage(variant.stalled),
            format_estimate(variant.diversity) if is_diverse else _tokens(variant),
            per_prompt,
        )
    caption = (
        "Policies cited: the part of its applicable policies that a CoT cites. Stalled: agreed "
        "on the first turn. Both of all prompts. "
    )
    if is_diverse:
        caption += "Diversity: how different what two agents would add is, 0 to 1."
    table.caption = Text(caption.strip(), style="")
    return table


def _tokens(variant: VariantFigures) -> str:
    if not variant.rows:
        return EMPTY_CELL
    tokens = sum(row.cot_tokens for row in variant.rows)
    return f"{tokens / len(variant.rows):,.0f}"


def _targets_table(result: ExperimentResult, seed: int, resamples: int) -> Table:
    table = _table("", "searched", "misled", "worst answer", "margin")
    for target in target_figures(result, seed, resamples):
        table.add_row(
            Text(target.name),
            f"{len(target.rows)}/{target.prompts}",
            _percentage(target.misled),
            format_estimate(target.policy_score),
            format_estimate(target.margin),
        )
    table.caption = Text(
        "Misled: of all prompts. Worst answer: its policy score, 1 to 5. With 95 % intervals.",
        style="",
    )
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, caption_justify="left")
    # Names are a person's own; a long one takes two lines, and no figure does.
    table.add_column(first, overflow="fold", min_width=10)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _percentage(estimate: Estimate | None) -> str:
    """Return `83 % [76, 89]`."""
    if estimate is None:
        return EMPTY_CELL
    value = 100 * estimate.value
    if estimate.low is None or estimate.high is None:
        return f"{value:.0f} %"
    return f"{value:.0f} % [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}]"
