"""Ground truth: what each row has to come to, worked out from the plan and not from what was said.

A test that drives the real dialogues compares their records with these, row by row and reason by reason; so does the
evaluation of what the pipeline found (`evaluation.py`). How calls end is in `calls.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aidsafe_dagster.engines.rehearsal.calls import drawn
from aidsafe_dagster.engines.rehearsal.fault_plan import FaultPlan
from aidsafe_dagster.engines.rehearsal.faults import RefinerFault
from aidsafe_dagster.engines.rehearsal.flaws import quality_of
from aidsafe_dagster.engines.rehearsal.judges import preference, refusal_of, said_score
from aidsafe_dagster.recipe.judging import Subject
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import (
    METRICS,
    FailureReason,
    Metric,
    Prompt,
    Thought,
    ThoughtVerdict,
)

_CHECKED = {
    RefinerFault.MISSING_POLICY: FailureReason.POLICY_NOT_COVERED,
    RefinerFault.OVER_FILTERED: FailureReason.OVER_FILTERED,
    RefinerFault.AGENT_TALK: FailureReason.AGENT_TALK,
}
_OPPOSITE = {"first": "second", "second": "first", "tie": "tie"}
_OUTCOME = {"first": "win", "second": "loss", "tie": "tie"}


@dataclass(frozen=True)
class RefinedTruth:
    """What a refined row contains; verdicts by the number of the deliberated thought."""

    planted: Mapping[int, ThoughtVerdict]
    """What each thought is; `KEEP` when sound."""
    judged: Mapping[int, ThoughtVerdict]
    """What the refiner says of it."""
    fault: RefinerFault | None
    left_out: str | None
    """The policy that the final CoT lacks."""

    @property
    def missed(self) -> frozenset[int]:
        """Planted, and kept all the same."""
        return frozenset(
            n
            for n, v in self.planted.items()
            if v is not self.judged[n] and self.judged[n] == "keep"
        )

    @property
    def falsely_removed(self) -> frozenset[int]:
        """Sound, and dropped all the same."""
        return frozenset(
            n for n, v in self.planted.items() if v == "keep" and self.judged[n] != "keep"
        )

    @property
    def check(self) -> FailureReason | None:
        """The reason for which a check of the finished row has to turn it down."""
        return _CHECKED[self.fault] if self.fault else None


@dataclass(frozen=True)
class GradeTruth:
    """One judge's grade of one subject."""

    deserved: Mapping[Metric, int]
    said: Mapping[Metric, int]
    """With the judge's errors."""
    refusal: str


@dataclass(frozen=True)
class ComparisonTruth:
    outcome: str
    consistent: bool


def refined_truth(
    plan: FaultPlan,
    prompt_id: str,
    thoughts: Sequence[Thought],
    applicable: tuple[str, ...],
    redraws: Sequence[int] = (),
) -> RefinedTruth:
    """Of a refinement of these deliberated thoughts."""
    draw = drawn(redraws, 0)
    fault = plan.refiner_fault(prompt_id, draw, covers=bool(applicable))
    lacks = (
        plan.left_out(prompt_id, applicable, draw) if fault is RefinerFault.MISSING_POLICY else None
    )
    planted = plan.thought_faults(prompt_id, thoughts)
    return RefinedTruth(
        planted=planted,
        judged={
            number: plan.judged(prompt_id, number, true, draw) for number, true in planted.items()
        },
        fault=fault,
        left_out=lacks,
    )


def grade_truth(
    plan: FaultPlan, prompt: Prompt, policies: Policies, judge: str, subject: Subject
) -> GradeTruth:
    """Of one judge's grade of a subject."""
    quality = quality_of(plan, prompt, policies, subject)
    return GradeTruth(
        deserved={metric: quality.score(metric) for metric in METRICS},
        said={
            metric: said_score(plan, prompt.prompt_id, judge, subject, quality, metric)
            for metric in METRICS
        },
        refusal=refusal_of(subject.response),
    )


def comparison_truth(
    plan: FaultPlan, prompt: Prompt, policies: Policies, judge: str, one: Subject, other: Subject
) -> ComparisonTruth:
    """Of one judge's comparison of two subjects, asked in both orders."""
    forward, _ = preference(plan, prompt, policies, judge, one, other)
    swapped, _ = preference(plan, prompt, policies, judge, other, one)
    consistent = forward == _OPPOSITE[swapped]
    return ComparisonTruth(_OUTCOME[forward] if consistent else "tie", consistent)
