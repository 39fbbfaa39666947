"""What N prompts will need: calls and tokens from measured rows, and GPUs, hours and money from those.

    GPU-seconds = tokens out / rate out  (+ tokens in that were not cached / rate in)      or prompts × seconds a prompt
    GPU-hours   = GPU-seconds / 3600       hours = GPU-hours / GPUs       cost = GPU-hours × price of a GPU-hour

A stage is planned per prompt that is given, not per row that enters it: what fails early costs little later. The
interval is that of the mean over the measured prompts (bootstrap, 95 %); it knows nothing of other prompts, other
models or a busier server. The formulas and an example: docs/planning.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from aidsafe_dagster.quality.statistics import Estimate, mean_interval, proportion
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Usage


@dataclass(frozen=True)
class RowUsage:
    """What one prompt cost at one stage, whether its row passed or failed there."""

    stage: str
    prompt_id: str
    failed: bool
    usage: Usage


@dataclass(frozen=True)
class MeasuredSample:
    """Finished batches: all their prompts, and every row of every stage that asked a model."""

    prompts: int
    rows: Sequence[RowUsage]
    simulated: bool
    """Played by the rehearsal engine: shows the way of counting, and plans nothing."""


@dataclass(frozen=True)
class Rates:
    """How fast one GPU is; what is None is not known."""

    tokens_out_per_second: float | None = None
    tokens_in_per_second: float | None = None
    """Of prompt tokens that are not in the prefix cache; None: their time is in the other rate already."""
    seconds_per_prompt: float | None = None
    """GPU-seconds over all stages, in place of the rates: 4 GPUs for 35 s are 140."""


@dataclass(frozen=True)
class StagePlan:
    """One stage for all prompts of the plan."""

    stage: str
    rows: float
    """Rows that enter it."""
    failing: Estimate | None
    calls: float
    tokens_in: float
    tokens_cached: float
    tokens_out: float


@dataclass(frozen=True)
class CapacityPlan:
    prompts: int
    sample: MeasuredSample
    stages: tuple[StagePlan, ...]
    gpu_hours: Estimate | None
    """None where no rate is known."""


def make_plan(sample: MeasuredSample, prompts: int, rates: Rates) -> CapacityPlan:
    """The plan for so many prompts, each like those of the sample.

    Raises:
        SetupError: nothing was measured, and no seconds a prompt are given.
    """
    if not sample.prompts and rates.seconds_per_prompt is None:
        raise SetupError(
            "nothing was measured: take at least one batch through all stages (aidsafe backfill), or give the seconds "
            "that a prompt takes on one GPU"
        )
    stages = dict.fromkeys(row.stage for row in sample.rows)
    planned = [_stage_plan(stage, sample, prompts / sample.prompts) for stage in stages]
    return CapacityPlan(prompts, sample, tuple(planned), gpu_hours(sample, prompts, rates))


def gpu_hours(sample: MeasuredSample, prompts: int, rates: Rates) -> Estimate | None:
    """GPU-hours for so many prompts, with the interval of the mean where it rests on measured rows."""
    if rates.seconds_per_prompt is not None:
        hours = prompts * rates.seconds_per_prompt / 3600
        return Estimate(hours, None, None, 0)
    if rates.tokens_out_per_second is None:
        return None
    mean = mean_interval([_gpu_seconds(usage, rates) for usage in _per_prompt(sample)])
    assert mean is not None
    low, high = (
        None if bound is None else prompts * bound / 3600 for bound in (mean.low, mean.high)
    )
    return Estimate(prompts * mean.value / 3600, low, high, mean.n)


def gpus_for(gpu_hours: float, hours: float) -> int:
    """Whole GPUs that are done within so many hours."""
    return ceil(gpu_hours / hours)


def measured_rate(steps: Sequence[Mapping[str, float]]) -> float | None:
    """Tokens out a second and GPU over all steps that held GPUs; None if none did.

    Seconds of single calls would say nothing: hundreds of them run at once. These are the seconds of whole steps times
    the GPUs held, with all that was waited for and all prompt tokens in them.

    Args:
        steps: `tokens_out` and `gpu_seconds` of each.
    """
    held = [step for step in steps if step.get("gpu_seconds") and step.get("tokens_out")]
    seconds = sum(step["gpu_seconds"] for step in held)
    return sum(step["tokens_out"] for step in held) / seconds if seconds else None


def _stage_plan(stage: str, sample: MeasuredSample, factor: float) -> StagePlan:
    rows = [row for row in sample.rows if row.stage == stage]
    spent = sum((row.usage for row in rows), Usage())
    return StagePlan(
        stage=stage,
        rows=len(rows) * factor,
        failing=proportion(sum(row.failed for row in rows), len(rows)),
        calls=spent.calls * factor,
        tokens_in=spent.prompt_tokens * factor,
        tokens_cached=spent.cached_tokens * factor,
        tokens_out=spent.completion_tokens * factor,
    )


def _per_prompt(sample: MeasuredSample) -> list[Usage]:
    """What each prompt of the sample cost over all stages."""
    spent: dict[str, Usage] = {}
    for row in sample.rows:
        spent[row.prompt_id] = spent.get(row.prompt_id, Usage()) + row.usage
    return [*spent.values(), *[Usage()] * (sample.prompts - len(spent))]


def _gpu_seconds(usage: Usage, rates: Rates) -> float:
    assert rates.tokens_out_per_second is not None
    seconds = usage.completion_tokens / rates.tokens_out_per_second
    if rates.tokens_in_per_second:
        seconds += (usage.prompt_tokens - usage.cached_tokens) / rates.tokens_in_per_second
    return seconds
