"""A plan for a large run: what finished batches took, and what that means for N prompts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import dagster as dg
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from aidsafe_dagster.cli.console import console, quantity, short_count
from aidsafe_dagster.engines.prices import format_money, is_priced
from aidsafe_dagster.engines.settings import Prices
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.quality.statistics import Estimate
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.recipe.stages import STAGES
from aidsafe_dagster.reports.measured_usage import measure
from aidsafe_dagster.reports.planning import (
    CapacityPlan,
    Rates,
    gpus_for,
    make_plan,
    measured_rate,
    price_unpriced,
)
from aidsafe_dagster.reports.savings import part_costs
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.schema import Settings

_SIMULATED = (
    "[bold yellow]REHEARSAL[/] · the measured rows are simulated, and so are their token counts. "
    "This shows how a plan is made; it is no plan for a model."
)
_COUNTS = ("calls", "tokens_in", "tokens_cached", "tokens_out", "tokens_reasoning")
_NO_PRICES = (
    "Money cannot be told: no server has prices. Set input, cached, output and currency, per "
    "million tokens, in [endpoint.prices] or [servers.NAME.prices]."
)
_STEP_FACTS = ("tokens_out", "seconds", "gpu_seconds")
# Of each stage. Dagster asks for a limit, and a rate needs no more.
_MOST_EVENTS = 1000


@dataclass(frozen=True)
class Budget:
    """What there is to spend, as far as it is known."""

    gpus: int | None
    hours: float | None
    gpu_price: float | None
    """Of a GPU-hour, in any currency."""


def print_plan(
    instance: dg.DagsterInstance, prompts: int, rates: Rates, budget: Budget
) -> None:
    """Print what so many prompts will need.

    Args:
        instance: holds the seconds that finished steps took.
        prompts: how many to plan for.
        rates: as given. A missing rate is measured, where a model ran on GPUs here.
        budget: what to express the need in.
    """
    settings = load_settings().settings
    lake = Lake(settings.lake)
    sample, left_out = measure(lake)
    rate = None
    # A rehearsal's seconds say nothing about a model.
    if not rates.tokens_out_per_second and not sample.simulated:
        steps = step_facts(instance, lake.batches(Stage.FINE_TUNE_SPLITS))
        rate = measured_rate(steps)
        rates = replace(rates, tokens_out_per_second=rate)
    sample, priced_now = price_unpriced(sample, partial(present_prices, settings))
    plan = make_plan(sample, prompts, rates)
    console.print(*_sample_lines(plan, left_out), sep="\n")
    if plan.stages:
        console.print(_stage_table(plan, settings.currency))
        console.print(_part_table(lake, plan, settings))
    need = _need_lines(plan, rates, budget, is_rate_measured=rate is not None)
    money = _money_lines(plan, settings.currency, priced_now)
    for line in (*money, *need):
        console.print(line, highlight=False, markup=False)


def present_prices(settings: Settings, servers: tuple[str, ...]) -> Prices:
    """Return the prices of the servers that a row names; those of the main one if it names none."""
    for server in servers:
        # Without its profile, which may have been another then.
        name = server.partition(" (")[0]
        if name in settings.servers:
            prices = settings.servers[name].prices
        elif "://" in name:
            # A server that a role names by its address has no prices.
            prices = Prices()
        else:
            prices = settings.endpoint.prices
        if is_priced(prices):
            return prices
    return Prices() if servers else settings.endpoint.prices


def step_facts(
    instance: dg.DagsterInstance, batches: Sequence[str]
) -> list[dict[str, float]]:
    """Return tokens, seconds and GPU-seconds from the materializations of finished batches."""
    steps = []
    for stage in STAGES:
        asset = dg.AssetKey(str(stage))
        of_batches = dg.AssetRecordsFilter(asset_key=asset, asset_partitions=batches)
        events = instance.fetch_materializations(of_batches, limit=_MOST_EVENTS)
        for event in events.records:
            materialization = event.asset_materialization
            if materialization is not None:
                steps.append(_numbers(materialization.metadata))
    return steps


def _numbers(metadata: Mapping[str, dg.MetadataValue[Any]]) -> dict[str, float]:
    numbers = {}
    for name in _STEP_FACTS:
        if name in metadata:
            numbers[name] = float(metadata[name].value)
    return numbers


def _sample_lines(plan: CapacityPlan, left_out: int) -> Iterator[str]:
    sample = plan.sample
    if sample.simulated:
        yield _SIMULATED
    if not sample.prompts:
        yield "Nothing was measured here yet, so no tokens can be estimated."
        return
    kind = "rehearsal" if sample.simulated else "a model's"
    prompts = quantity(sample.prompts, "prompt")
    yield f"Measured on {prompts} of finished batches ({kind} rows, failed ones included)."
    if left_out:
        verb = "was" if left_out == 1 else "were"
        yield f"{quantity(left_out, 'batch')} of the rehearsal {verb} left out."


def _stage_table(plan: CapacityPlan, currency: str) -> Table:
    table = Table(title=quantity(plan.prompts, "prompt"), box=SIMPLE_HEAD, padding=0)
    table.add_column("stage", no_wrap=True)
    for column in (
        "rows",
        "fail",
        "calls",
        "tokens\nin",
        "of them\ncached",
        "tokens\nout",
        "reaso-\nning",
    ):
        table.add_column(column, justify="right", no_wrap=True)
    if currency:
        table.add_column(Text(currency), justify="right", no_wrap=True)
    for stage in plan.stages:
        rows = short_count(stage.rows)
        failing = _share(stage.failing)
        cells = [short_count(getattr(stage, name)) for name in _COUNTS]
        if currency:
            cells.append(format_money(stage.cost))
        table.add_row(stage.stage, rows, failing, *cells)
    table.add_section()
    cells = [short_count(_sum(plan, name)) for name in _COUNTS]
    if currency:
        cells.append(format_money(_sum(plan, "cost")))
    table.add_row("together", "", "", *cells, style="bold")
    return table


def _part_table(lake: Lake, plan: CapacityPlan, settings: Settings) -> Table:
    """Return what each part costs that a setting leaves out, the dearest first."""
    title = "What may be turned down, and what it costs"
    table = Table(
        title=title,
        caption="Two settings may leave out the same calls, so these do not add up.",
        box=SIMPLE_HEAD,
        padding=0,
    )
    # A setting that is broken over two lines cannot be copied.
    table.add_column("setting", no_wrap=True)
    table.add_column("leaves out")
    for column in ("calls", "tokens\nin", "tokens\nout"):
        table.add_column(column, justify="right", no_wrap=True)
    has_money = bool(settings.currency)
    if has_money:
        table.add_column(Text(settings.currency), justify="right", no_wrap=True)
    factor = plan.prompts / plan.sample.prompts
    costs = part_costs(lake, plan.sample.batches)
    for cost in sorted(costs, key=lambda cost: -cost.tokens_out):
        whole = cost.scaled(factor)
        cells = [
            short_count(count)
            for count in (whole.calls, whole.tokens_in, whole.tokens_out)
        ]
        if has_money:
            cells.append(format_money(whole.cost))
        table.add_row(Text(cost.setting), cost.name, *cells)
    return table


def _sum(plan: CapacityPlan, count: str) -> float:
    return sum(float(getattr(stage, count)) for stage in plan.stages)


def _money_lines(plan: CapacityPlan, currency: str, priced_now: int) -> Iterator[str]:
    if plan.money is None:
        return
    if not currency:
        yield _NO_PRICES
        return
    money = format_money(plan.money.value, currency)
    if plan.money.low is not None and plan.money.high is not None:
        low, high = format_money(plan.money.low), format_money(plan.money.high)
        money += f" (95 % interval of the mean: {low} to {high})"
    yield f"Calls cost: {money}"
    if priced_now:
        rows = quantity(priced_now, "row")
        total = f"{len(plan.sample.rows):,}"
        yield (
            f"{rows} of the {total} measured were made without prices, and count at the prices "
            "that are set now."
        )


def _need_lines(
    plan: CapacityPlan, rates: Rates, budget: Budget, *, is_rate_measured: bool
) -> Iterator[str]:
    gpu_hours = plan.gpu_hours
    if gpu_hours is None:
        yield (
            "Hours cannot be told: no run here held GPUs, and a single call's seconds are no "
            "throughput. Give --tokens-per-second-per-gpu or --gpu-seconds-per-prompt."
        )
        return
    if rates.seconds_per_prompt is None:
        origin = "measured over whole steps here" if is_rate_measured else "given"
        rate = f"{rates.tokens_out_per_second:,.0f} generated tokens a second and GPU"
        yield f"Rate: {rate} ({origin})."
    yield f"GPU-hours: {_scaled(gpu_hours, 1)}"
    if budget.gpus:
        hours = _scaled(gpu_hours, 1 / budget.gpus)
        yield f"On {quantity(budget.gpus, 'GPU')}: {hours} hours"
    if budget.hours:
        most_gpu_hours = gpu_hours.high or gpu_hours.value
        # For the upper bound of the estimate, so that the GPUs suffice.
        gpus = gpus_for(most_gpu_hours, budget.hours)
        yield f"In {budget.hours:g} hours: {quantity(gpus, 'GPU')}"
    if budget.gpu_price is not None:
        cost = _scaled(gpu_hours, budget.gpu_price)
        yield f"Cost at {budget.gpu_price:g} a GPU-hour: {cost}"


def _scaled(estimate: Estimate, factor: float) -> str:
    value = estimate.value * factor
    if estimate.low is None or estimate.high is None:
        return f"{value:,.1f}"
    low = estimate.low * factor
    high = estimate.high * factor
    return f"{value:,.1f} (95 % interval of the mean: {low:,.1f} to {high:,.1f})"


def _share(estimate: Estimate | None) -> str:
    if estimate is None or estimate.low is None or estimate.high is None:
        return "·"
    return f"{100 * estimate.low:.0f}–{estimate.high:.0%}"
