"""What a run of N prompts needs: calls, tokens and money from measured rows, then GPUs and hours.

    GPU-seconds = tokens out / rate out  (+ uncached tokens in / rate in)
               or prompts × GPU-seconds per prompt
    GPU-hours   = GPU-seconds / 3600
    hours       = GPU-hours / GPUs
    cost        = GPU-hours × price of a GPU-hour
    money       = prompts × mean of what the calls for one prompt cost

A stage is planned per prompt of the plan, not per row that enters it: a row that fails early costs
little later. The interval is that of the mean over the measured prompts (bootstrap, 95 %). It does
not cover other prompts, other models or a busier server. See docs/planning.md for the formulas and
an example.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

from aidsafe_dagster.engines.prices import cost_of
from aidsafe_dagster.engines.settings import Prices
from aidsafe_dagster.quality.statistics import Estimate, mean_interval, proportion
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Usage

_SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class RowUsage:
    """What one prompt cost at one stage, whether its row passed or failed there."""

    stage: str
    prompt_id: str
    failed: bool
    usage: Usage
    servers: tuple[str, ...] = ()
    """Names of the servers that answered, with their profiles, where the row has them."""


@dataclass(frozen=True)
class MeasuredSample:
    """Finished batches: all their prompts, and every row of every stage that asked a model."""

    prompts: int
    rows: Sequence[RowUsage]
    simulated: bool
    """The rehearsal engine made the rows. They show how the plan is computed, and plan nothing."""
    batches: tuple[str, ...] = ()
    """Those that were measured."""


@dataclass(frozen=True)
class Rates:
    """How fast one GPU is. None means unknown."""

    tokens_out_per_second: float | None = None
    tokens_in_per_second: float | None = None
    """Prompt tokens outside the prefix cache. None: the other rate already covers their time."""
    seconds_per_prompt: float | None = None
    """GPU-seconds over all stages, in place of the rates: 4 GPUs for 35 s are 140."""


@dataclass(frozen=True)
class StagePlan:
    """One stage for all prompts of the plan."""

    stage: str
    rows: float
    """Rows that enter the stage."""
    failing: Estimate | None
    calls: float
    tokens_in: float
    tokens_cached: float
    tokens_out: float
    tokens_reasoning: float
    """Of the tokens out."""
    cost: float


@dataclass(frozen=True)
class CapacityPlan:
    prompts: int
    sample: MeasuredSample
    stages: tuple[StagePlan, ...]
    gpu_hours: Estimate | None
    """None if no rate is known."""
    money: Estimate | None
    """What the calls cost; None if nothing was measured."""


def make_plan(sample: MeasuredSample, prompts: int, rates: Rates) -> CapacityPlan:
    """Plan for a number of prompts like those of the sample.

    Raises:
        SetupError: nothing was measured and `rates` has no seconds per prompt.
    """
    if not sample.prompts and rates.seconds_per_prompt is None:
        raise SetupError(
            "nothing was measured: take at least one batch through all stages (aidsafe backfill), "
            "or give the seconds that one prompt takes on one GPU"
        )
    # A dict keeps the order of the recipe, in which the rows were read.
    stages = dict.fromkeys(row.stage for row in sample.rows)
    plans = []
    for stage in stages:
        factor = prompts / sample.prompts
        plans.append(plan_stage(stage, sample, factor))
    return CapacityPlan(
        prompts,
        sample,
        tuple(plans),
        gpu_hours(sample, prompts, rates),
        _money(sample, prompts),
    )


def gpu_hours(sample: MeasuredSample, prompts: int, rates: Rates) -> Estimate | None:
    """Return the GPU-hours for a number of prompts; None if no rate is known.

    The estimate has an interval where it rests on measured rows.
    """
    if rates.seconds_per_prompt is not None:
        # A figure that a person gives rests on no rows and has no interval.
        hours = prompts * rates.seconds_per_prompt / _SECONDS_PER_HOUR
        return Estimate(hours, None, None, 0)
    if rates.tokens_out_per_second is None:
        return None
    seconds = [_gpu_seconds(usage, rates) for usage in _usage_per_prompt(sample)]
    mean = mean_interval(seconds)
    # It is None only without prompts, which `make_plan` refuses.
    assert mean is not None

    return _scale(mean, prompts / _SECONDS_PER_HOUR)


def _money(sample: MeasuredSample, prompts: int) -> Estimate | None:
    mean = mean_interval([usage.cost for usage in _usage_per_prompt(sample)])
    return None if mean is None else _scale(mean, prompts)


def _scale(estimate: Estimate, factor: float) -> Estimate:
    return Estimate(
        value=estimate.value * factor,
        low=None if estimate.low is None else estimate.low * factor,
        high=None if estimate.high is None else estimate.high * factor,
        n=estimate.n,
    )


def price_unpriced(
    sample: MeasuredSample, prices_of: Callable[[tuple[str, ...]], Prices]
) -> tuple[MeasuredSample, int]:
    """Price rows that carry no cost, because they were made before prices were set.

    Args:
        sample: the measured rows.
        prices_of: returns the present prices of the servers that a row names.

    Returns:
        The sample, and how many of its rows got a cost.
    """
    rows = []
    priced = 0
    for row in sample.rows:
        cost = row.usage.cost or cost_of(row.usage, prices_of(row.servers))
        if cost != row.usage.cost:
            priced += 1
            usage = row.usage.model_copy(update={"cost": cost})
            row = replace(row, usage=usage)  # noqa: PLW2901 - the same row with its cost
        rows.append(row)
    return replace(sample, rows=rows), priced


def gpus_for(gpu_hours: float, hours: float) -> int:
    """Return the number of whole GPUs that finish within these hours."""
    return ceil(gpu_hours / hours)


def measured_rate(steps: Sequence[Mapping[str, float]]) -> float | None:
    """Return tokens out per second and GPU, over all steps that held GPUs; None if none did.

    The seconds of single calls are no throughput, because hundreds of calls run at once. The
    seconds here are those of whole steps times the GPUs held. They include waiting and all prompt
    tokens.

    Args:
        steps: `tokens_out` and `gpu_seconds` of each step.
    """
    tokens, seconds = 0.0, 0.0
    for step in steps:
        # A step without visible GPUs has no GPU-seconds, and its tokens must not count either.
        if step.get("gpu_seconds") and step.get("tokens_out"):
            tokens += step["tokens_out"]
            seconds += step["gpu_seconds"]
    return tokens / seconds if seconds else None


def plan_stage(stage: str, sample: MeasuredSample, factor: float) -> StagePlan:
    """Return what a stage takes of `factor` times the prompts of the sample."""
    rows, failed, usage = 0, 0, Usage()
    for row in sample.rows:
        if row.stage == stage:
            rows += 1
            failed += row.failed
            usage += row.usage
    return StagePlan(
        stage=stage,
        rows=rows * factor,
        failing=proportion(failed, rows),
        calls=usage.calls * factor,
        tokens_in=usage.prompt_tokens * factor,
        tokens_cached=usage.cached_tokens * factor,
        tokens_out=usage.completion_tokens * factor,
        tokens_reasoning=usage.reasoning_tokens * factor,
        cost=usage.cost * factor,
    )


def _usage_per_prompt(sample: MeasuredSample) -> list[Usage]:
    """Return what each prompt of the sample cost over all stages, 0 for prompts without a call."""
    usage: dict[str, Usage] = {}
    for row in sample.rows:
        before = usage.get(row.prompt_id, Usage())
        usage[row.prompt_id] = before + row.usage
    # They count: the plan is per prompt, and some prompts of its size will fail early too.
    without_calls = sample.prompts - len(usage)
    return [*usage.values(), *[Usage()] * without_calls]


def _gpu_seconds(usage: Usage, rates: Rates) -> float:
    assert rates.tokens_out_per_second is not None
    seconds = usage.completion_tokens / rates.tokens_out_per_second
    if rates.tokens_in_per_second:
        # Tokens in the prefix cache cost next to no time.
        uncached = usage.prompt_tokens - usage.cached_tokens
        seconds += uncached / rates.tokens_in_per_second
    return seconds
