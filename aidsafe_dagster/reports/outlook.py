"""What batches are likely to take before they are made: the means of those finished last.

A stage is reckoned per prompt of the batch and not per row that enters it, as in a capacity plan
(`reports/planning.py`), because a row that fails early costs little later.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from aidsafe_dagster.reports.planning import MeasuredSample, StagePlan, plan_stage


@dataclass(frozen=True)
class Work:
    """What some stages of some prompts take, on average. Replayed calls would be less."""

    calls: float = 0.0
    tokens_in: float = 0.0
    tokens_cached: float = 0.0
    """Of the tokens in."""
    tokens_out: float = 0.0
    cost: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        return Work(
            calls=self.calls + other.calls,
            tokens_in=self.tokens_in + other.tokens_in,
            tokens_cached=self.tokens_cached + other.tokens_cached,
            tokens_out=self.tokens_out + other.tokens_out,
            cost=self.cost + other.cost,
        )


@dataclass(frozen=True)
class Outlook:
    """What a prompt takes at each stage, on average over a sample."""

    prompts: int
    """Of the sample; 0: nothing was measured."""
    simulated: bool
    stages: Mapping[str, StagePlan]
    """For one prompt."""
    tokens_out_per_second: float | None = None
    """Of whole steps; None: nothing was measured."""

    def work(self, stages: Iterable[str], prompts: int) -> Work | None:
        """Return what some stages take for a number of prompts; None if nothing was measured."""
        if not self.prompts:
            return None
        total = Work()
        for stage in stages:
            plan = self.stages.get(stage)
            if plan is not None:
                total += _work_of(plan, prompts)
        return total

    def cost_of(self, stages: Iterable[str], prompts: int) -> float | None:
        """Return what the calls of some stages cost; None if nothing was measured."""
        work = self.work(stages, prompts)
        return None if work is None else work.cost

    def seconds(self, work: Work) -> float | None:
        """Return how long it takes; None if nothing was measured."""
        if not self.tokens_out_per_second:
            return None
        return work.tokens_out / self.tokens_out_per_second


def make_outlook(
    sample: MeasuredSample, steps: Sequence[Mapping[str, float]] = ()
) -> Outlook:
    """Return the means of a sample.

    Args:
        sample: rows of finished batches.
        steps: `tokens_out` and `seconds` of their steps.
    """
    stages = {}
    for stage in dict.fromkeys(row.stage for row in sample.rows):
        stages[stage] = plan_stage(stage, sample, 1 / sample.prompts)
    return Outlook(sample.prompts, sample.simulated, stages, _rate(steps))


def with_unmeasured(
    outlook: Outlook, repeats: Mapping[str, Sequence[str]], shares: Mapping[str, float]
) -> Outlook:
    """Return an outlook on stages that no batch has been through yet, by what they repeat.

    Args:
        outlook: of what was measured.
        repeats: by stage, the stages whose work it does once more.
        shares: by stage, of how many of the prompts, at most.
    """
    stages = dict(outlook.stages)
    for stage, models in repeats.items():
        plans = [outlook.stages[name] for name in models if name in outlook.stages]
        if stage not in stages and plans:
            stages[stage] = _sum_of(stage, plans, shares.get(stage, 1.0))
    return replace(outlook, stages=stages)


def _sum_of(stage: str, plans: Sequence[StagePlan], share: float) -> StagePlan:
    def total(count: str) -> float:
        return share * sum(float(getattr(plan, count)) for plan in plans)

    return StagePlan(
        stage=stage,
        rows=share,
        failing=None,
        calls=total("calls"),
        tokens_in=total("tokens_in"),
        tokens_cached=total("tokens_cached"),
        tokens_out=total("tokens_out"),
        tokens_reasoning=total("tokens_reasoning"),
        cost=total("cost"),
    )


def _rate(steps: Sequence[Mapping[str, float]]) -> float | None:
    tokens, seconds = 0.0, 0.0
    for step in steps:
        # A step that was replayed from the journal takes no time worth the name.
        if step.get("tokens_out"):
            tokens += step["tokens_out"]
            seconds += step.get("seconds", 0.0)
    return tokens / seconds if seconds else None


def _work_of(plan: StagePlan, prompts: int) -> Work:
    return Work(
        calls=plan.calls * prompts,
        tokens_in=plan.tokens_in * prompts,
        tokens_cached=plan.tokens_cached * prompts,
        tokens_out=plan.tokens_out * prompts,
        cost=plan.cost * prompts,
    )
