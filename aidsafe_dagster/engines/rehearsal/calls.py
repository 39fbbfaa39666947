"""Ground truth of calls: how often each dialogue asks, whether its agents agree, and why it fails, if it does.

Worked out from the plan, with a row's `redraws`: the calls from which a run drew anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from aidsafe_dagster.engines.rehearsal.fault_plan import FaultPlan, place_of
from aidsafe_dagster.engines.rehearsal.faults import CallFault
from aidsafe_dagster.recipe.deliberated_cots import DeliberationSettings, agent_name
from aidsafe_dagster.recipe.dialogue import MAX_REASKS
from aidsafe_dagster.recipe.records import FailureReason, Role

_FAILS = {
    CallFault.UNPARSABLE: FailureReason.UNPARSABLE,
    CallFault.MALFORMED_ONCE: FailureReason.UNPARSABLE,
    CallFault.REFUSAL: FailureReason.REFUSED_TO_DELIBERATE,
}


@dataclass(frozen=True)
class CallsTruth:
    """How a dialogue's calls end."""

    failure: FailureReason | None = None
    """Why the dialogue fails, if it does."""
    calls: int = 0
    """Completions that the dialogue asks for, re-asks included."""
    turns: int = 0
    """Deliberators that spoke and were understood."""
    agreed: bool = False
    """The last of them agreed; at a round table, all of the last round."""
    stalled: bool = False
    """They agreed before anybody had anything to add."""


def calls_truth(
    plan: FaultPlan,
    prompt_id: str,
    roles: Sequence[Role],
    redraws: Sequence[int] = (),
    *,
    declines: bool = False,
) -> CallsTruth:
    """Of a dialogue whose roles speak once each, such as (intent decomposer, initializer); `declines` matters to the
    single LLM alone."""
    truth = CallsTruth()
    for role in roles:
        truth, _ = asked(plan, prompt_id, role, role, truth, redraws, declines=declines)
        if truth.failure:
            break
    return truth


def deliberation_truth(
    plan: FaultPlan,
    prompt_id: str,
    settings: DeliberationSettings = DeliberationSettings(),
    redraws: Sequence[int] = (),
    *,
    declines: bool,
) -> CallsTruth:
    """Of a deliberation in either style; `declines` as in `reading.declines`."""
    take_round = _round_in_turn if settings.style == "in_turn" else _round_at_table
    truth = CallsTruth()
    for round_ in range(1, settings.max_rounds + 1):
        truth = take_round(
            plan, prompt_id, settings.agents, round_, truth, redraws, declines=declines
        )
        if truth.failure or truth.agreed:
            break
    return truth


def asked(
    plan: FaultPlan,
    prompt_id: str,
    role: Role,
    place: str,
    before: CallsTruth,
    redraws: Sequence[int],
    *,
    declines: bool = False,
) -> tuple[CallsTruth, int]:
    """One task put to a role, with its re-asks, after the calls `before`; and the draw of the last of them."""
    faults: list[tuple[CallFault, int]] = []
    while len(faults) <= MAX_REASKS:
        draw = drawn(redraws, before.calls + len(faults))
        fault = plan.call_fault(prompt_id, role, place, draw, declines=declines)
        if fault is None or (fault is CallFault.MALFORMED_ONCE and (fault, draw) in faults[-1:]):
            return replace(before, calls=before.calls + len(faults) + 1), draw
        faults.append((fault, draw))
    return replace(before, calls=before.calls + len(faults), failure=_FAILS[faults[-1][0]]), faults[
        -1
    ][1]


def _round_in_turn(
    plan: FaultPlan,
    prompt_id: str,
    agents: int,
    round_: int,
    truth: CallsTruth,
    redraws: Sequence[int],
    *,
    declines: bool,
) -> CallsTruth:
    """A turn of each agent, until one agrees."""
    for agent in map(agent_name, range(1, agents + 1)):
        place = place_of(agent, round_)
        truth, draw = asked(
            plan, prompt_id, Role.DELIBERATOR, place, truth, redraws, declines=declines
        )
        if truth.failure:
            return truth
        agrees = plan.agrees(prompt_id, agent, round_, draw)
        truth = replace(
            truth, turns=truth.turns + 1, agreed=agrees, stalled=agrees and not truth.turns
        )
        if agrees:
            break
    return truth


def _round_at_table(
    plan: FaultPlan,
    prompt_id: str,
    agents: int,
    round_: int,
    truth: CallsTruth,
    redraws: Sequence[int],
    *,
    declines: bool,
) -> CallsTruth:
    """An opinion of each agent, and the moderator unless all agree."""
    agreeing = 0
    for agent in map(agent_name, range(1, agents + 1)):
        place = place_of(agent, round_)
        truth, draw = asked(
            plan, prompt_id, Role.DELIBERATOR, place, truth, redraws, declines=declines
        )
        if truth.failure:
            return truth
        agreeing += plan.agrees(prompt_id, agent, round_, draw)
    truth = replace(truth, turns=truth.turns + agents)
    if agreeing == agents:
        return replace(truth, agreed=True, stalled=round_ == 1)
    return asked(plan, prompt_id, Role.MODERATOR, place_of(Role.MODERATOR, round_), truth, redraws)[
        0
    ]


def drawn(redraws: Sequence[int], turn: int) -> int:
    """The draw of a call, as `Conversation` counts it."""
    return sum(1 for redrawn in redraws if redrawn <= turn)
