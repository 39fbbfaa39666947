"""`aidsafe plan`: what so many prompts will need, from the rows that were made here."""

from collections.abc import Iterator
from typing import Annotated

import dagster as dg
import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from aidsafe_dagster.cli.console import console, explained
from aidsafe_dagster.cli.local_runs import open_instance
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.quality.statistics import Estimate
from aidsafe_dagster.recipe.records import Stage, Usage
from aidsafe_dagster.recipe.stages import RECORDS
from aidsafe_dagster.reports.planning import (
    CapacityPlan,
    MeasuredSample,
    Rates,
    RowUsage,
    gpus_for,
    make_plan,
    measured_rate,
)
from aidsafe_dagster.settings.load import load_settings

_LAST = Stage.FINE_TUNE_SPLITS
_SIMULATED = (
    "[bold yellow]REHEARSAL[/] · the measured rows are simulated: their tokens are those of played answers. This shows "
    "how the counting goes; it is no plan for a model."
)


def plan(
    prompts: Annotated[int, typer.Option(help="Prompts to plan for.", min=1)] = 10_000,
    tokens_per_second_per_gpu: Annotated[
        float | None,
        typer.Option(help="Generated tokens; else as measured on this machine's GPUs.", min=0.001),
    ] = None,
    prefill_tokens_per_second_per_gpu: Annotated[
        float | None,
        typer.Option(
            help="Prompt tokens that are not cached; else held to be in the other.", min=0.001
        ),
    ] = None,
    gpu_seconds_per_prompt: Annotated[
        float | None, typer.Option(help="In place of the two: 4 GPUs for 35 s are 140.", min=0.001)
    ] = None,
    gpus: Annotated[int | None, typer.Option(help="Tell the hours on so many GPUs.", min=1)] = None,
    hours: Annotated[
        float | None, typer.Option(help="Tell the GPUs for so many hours.", min=0.001)
    ] = None,
    gpu_price: Annotated[
        float | None, typer.Option(help="Of a GPU-hour, in any currency.", min=0)
    ] = None,
) -> None:
    """Calls, tokens, GPUs, hours and cost of N prompts, from what finished batches took."""
    with explained(), open_instance() as instance:
        lake = Lake(load_settings().settings.lake)
        sample, left_out = measured(lake)
        found = (
            None
            if tokens_per_second_per_gpu or sample.simulated
            else measured_rate(_steps(instance, lake))
        )
        rates = Rates(
            tokens_per_second_per_gpu or found,
            prefill_tokens_per_second_per_gpu,
            gpu_seconds_per_prompt,
        )
        planned = make_plan(sample, prompts, rates)
        console.print(*_measured_on(planned, left_out), sep="\n")
        if planned.stages:
            console.print(_stage_table(planned))
        for line in _in_hours(
            planned, rates, gpus, hours, gpu_price, is_measured=found is not None
        ):
            console.print(line, highlight=False)


def measured(lake: Lake) -> tuple[MeasuredSample, int]:
    """The finished batches that a model made, those of the rehearsal if there are no others; and how many are left out.

    A batch is finished when its last stage was made.
    """
    kinds: dict[bool, list[str]] = {False: [], True: []}
    for batch in lake.batches(_LAST):
        kinds[_is_simulated(lake, batch)].append(batch)
    simulated = not kinds[False]
    rows = [row for batch in kinds[simulated] for row in _rows(lake, batch)]
    given = sum(lake.rows(Stage.PROMPTS, batch).height for batch in kinds[simulated])
    return MeasuredSample(given, rows, simulated and bool(kinds[True])), len(kinds[not simulated])


def _rows(lake: Lake, batch: str) -> Iterator[RowUsage]:
    """Rows, finished or failed, of each stage that asks a model."""
    for stage in RECORDS:
        if (
            "usage" not in RECORDS[stage].model_fields
            or stage is _LAST
            or not lake.has(stage, batch)
        ):
            continue
        for failed, frame in (
            (False, lake.rows(stage, batch)),
            (True, lake.failures(stage, batch)),
        ):
            for prompt_id, usage in frame.select("prompt_id", "usage").iter_rows():
                yield RowUsage(str(stage), prompt_id, failed, Usage(**usage))


def _is_simulated(lake: Lake, batch: str) -> bool:
    made = [
        stage
        for stage in RECORDS
        if "simulated" in RECORDS[stage].model_fields and lake.has(stage, batch)
    ]
    return any(bool(lake.rows(stage, batch)["simulated"].any()) for stage in made)


def _steps(instance: dg.DagsterInstance, lake: Lake) -> list[dict[str, float]]:
    """What the materializations of finished batches say of tokens and GPUs."""
    batches = lake.batches(_LAST)
    wanted = [
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(str(stage)), asset_partitions=batches)
        for stage in Stage
    ]
    events = [
        event
        for one in wanted
        for event in instance.fetch_materializations(one, limit=1000).records
    ]
    shown = [
        event.asset_materialization.metadata for event in events if event.asset_materialization
    ]
    names = ("tokens_out", "gpu_seconds")
    return [{name: float(step[name].value) for name in names if name in step} for step in shown]  # type: ignore[arg-type]


def _measured_on(planned: CapacityPlan, left_out: int) -> Iterator[str]:
    sample = planned.sample
    if sample.simulated:
        yield _SIMULATED
    if not sample.prompts:
        yield "Nothing was measured here yet: no tokens can be told."
        return
    kind = "rehearsal" if sample.simulated else "a model's"
    yield f"Measured on {sample.prompts:,} prompts of finished batches ({kind} rows, failed ones included)."
    if left_out:
        yield f"{left_out} batches of the rehearsal were left out."


def _stage_table(planned: CapacityPlan) -> Table:
    found = Table(title=f"{planned.prompts:,} prompts", box=SIMPLE_HEAD, pad_edge=False)
    found.add_column("stage", no_wrap=True)
    for column in ("rows", "failing", "calls", "tokens\nin", "of them\ncached", "tokens\nout"):
        found.add_column(column, justify="right", no_wrap=True)
    for stage in planned.stages:
        counts = (stage.calls, stage.tokens_in, stage.tokens_cached, stage.tokens_out)
        found.add_row(stage.stage, short(stage.rows), _share(stage.failing), *map(short, counts))
    sums = [
        sum(getattr(stage, name) for stage in planned.stages)
        for name in ("calls", "tokens_in", "tokens_cached", "tokens_out")
    ]
    found.add_section()
    found.add_row("together", "", "", *map(short, sums), style="bold")
    return found


def _in_hours(
    planned: CapacityPlan,
    rates: Rates,
    gpus: int | None,
    hours: float | None,
    price: float | None,
    *,
    is_measured: bool,
) -> Iterator[str]:
    needed = planned.gpu_hours
    if needed is None:
        yield (
            "Hours cannot be told: no run here held GPUs, and a single call's seconds are no throughput. "
            "Give --tokens-per-second-per-gpu or --gpu-seconds-per-prompt."
        )
        return
    if rates.seconds_per_prompt is None:
        origin = "measured over whole steps here" if is_measured else "given"
        yield f"Rate: {rates.tokens_out_per_second:,.0f} generated tokens a second and GPU ({origin})."
    yield f"GPU-hours: {_estimate(needed, 1)}"
    if gpus:
        yield f"On {gpus} GPUs: {_estimate(needed, 1 / gpus)} hours"
    if hours:
        yield f"In {hours:g} hours: {gpus_for(needed.high or needed.value, hours)} GPUs"
    if price is not None:
        yield f"Cost at {price:g} a GPU-hour: {_estimate(needed, price)}"


def _estimate(estimate: Estimate, factor: float) -> str:
    value = f"{estimate.value * factor:,.1f}"
    if estimate.low is None or estimate.high is None:
        return value
    return f"{value} (95 % interval of the mean: {estimate.low * factor:,.1f} to {estimate.high * factor:,.1f})"


def _share(estimate: Estimate | None) -> str:
    if estimate is None or estimate.low is None or estimate.high is None:
        return "·"
    return f"{estimate.low:.0%}–{estimate.high:.0%}"


def short(count: float) -> str:
    """A count in at most five characters: 950, 12.3k, 4.5M, 1.2G."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= unit:
            return f"{count / unit:.1f}{name}"
    return f"{count:.0f}"
