"""Ground truth: what each dialogue has to come to, worked out from the plan and not from what was said.

A test that drives the real dialogues compares their records with these, row by row and reason by reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aidsafe_dagster.engines.rehearsal.faults import CallFault, Plan, RefinerFault, place_of
from aidsafe_dagster.recipe.records import FailureReason, Role, Thought, ThoughtVerdict

_FAILS = {
    CallFault.UNPARSABLE: FailureReason.UNPARSABLE,
    CallFault.REFUSAL: FailureReason.REFUSED_TO_DELIBERATE,
}
_CHECKED = {
    RefinerFault.MISSING_POLICY: FailureReason.POLICY_NOT_COVERED,
    RefinerFault.OVER_FILTERED: FailureReason.OVER_FILTERED,
    RefinerFault.AGENT_TALK: FailureReason.AGENT_TALK,
}


@dataclass(frozen=True)
class CallsTruth:
    """How a dialogue's calls end."""

    failure: FailureReason | None
    """Why the dialogue fails, if it does."""
    calls: int
    """Completions that the dialogue asks for, re-asks included."""
    turns: int = 0
    """Deliberators that spoke and were understood."""
    agreed: bool = False
    """The last of them agreed."""

    @property
    def stalled(self) -> bool:
        """The very first turn agreed."""
        return self.agreed and self.turns == 1


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
        return frozenset(n for n, v in self.planted.items() if v is not self.judged[n] and self.judged[n] == "keep")

    @property
    def falsely_removed(self) -> frozenset[int]:
        """Sound, and dropped all the same."""
        return frozenset(n for n, v in self.planted.items() if v == "keep" and self.judged[n] != "keep")

    @property
    def check(self) -> FailureReason | None:
        """The reason for which a check of the finished row has to turn it down."""
        return _CHECKED[self.fault] if self.fault else None


def calls_truth(plan: Plan, prompt_id: str, roles: Sequence[Role], draw: int = 0) -> CallsTruth:
    """Of a dialogue whose roles speak once each, such as (intent decomposer, initializer)."""
    calls = 0
    for role in roles:
        fault = plan.call_fault(prompt_id, role, role, draw, declines=False)
        calls += _tries(fault)
        if fault in _FAILS:
            return CallsTruth(_FAILS[fault], calls)
    return CallsTruth(None, calls)


def deliberation_truth(
    plan: Plan, prompt_id: str, *, declines: bool, agents: int = 2, max_rounds: int = 3, draw: int = 0
) -> CallsTruth:
    """Of a deliberation; `declines` as in `reading.declines`."""
    calls = turns = 0
    for round_ in range(1, max_rounds + 1):
        for agent in (f"deliberator_{n}" for n in range(1, agents + 1)):
            fault = plan.call_fault(prompt_id, Role.DELIBERATOR, place_of(agent, round_), draw, declines=declines)
            calls += _tries(fault)
            if fault in _FAILS:
                return CallsTruth(_FAILS[fault], calls, turns)
            turns += 1
            if plan.agrees(prompt_id, agent, round_, draw):
                return CallsTruth(None, calls, turns, agreed=True)
    return CallsTruth(None, calls, turns)


def refined_truth(
    plan: Plan, prompt_id: str, thoughts: Sequence[Thought], applicable: tuple[str, ...], draw: int = 0
) -> RefinedTruth:
    """Of a refinement of these deliberated thoughts."""
    fault = plan.refiner_fault(prompt_id, draw, covers=bool(applicable))
    lacks = plan.left_out(prompt_id, applicable, draw) if fault is RefinerFault.MISSING_POLICY else None
    return RefinedTruth(
        planted={t.number: plan.thought_fault(prompt_id, t.number, t.agent) for t in thoughts},
        judged={t.number: plan.judged(prompt_id, t.number, t.agent, draw) for t in thoughts},
        fault=fault,
        left_out=lacks,
    )


def _tries(fault: CallFault | None) -> int:
    return {None: 1, CallFault.MALFORMED_ONCE: 2}.get(fault, 3)
