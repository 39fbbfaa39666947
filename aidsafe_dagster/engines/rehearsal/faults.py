"""What goes wrong in a rehearsal, and how often.

Every decision is a function of the settings' seed, the prompt's id, the place (role, turn or thought number) and the
draw. Nothing is remembered: the refiner works out for itself which thoughts were planted, and a test works out what the
refiner has to say of them. Deciding lots are drawn apart from those that choose words, so prose can change without
moving a fault.

A thought's fault knows no draw, because the refiner cannot see in which draw a thought was made. All other faults do,
and each further draw plants a tenth of the one before, so that a retried row gets through.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, TypeVar

from pydantic import Field, model_validator

from aidsafe_dagster.engines.rehearsal.lots import lot, pick
from aidsafe_dagster.recipe.records import Record, Role, ThoughtVerdict

Rate = Annotated[float, Field(ge=0, le=1)]
F = TypeVar("F", bound=StrEnum)

INITIALIZER = "initializer"


class CallFault(StrEnum):
    """What can be wrong with one call's answer as a whole."""

    UNPARSABLE = "unparsable"
    MALFORMED_ONCE = "malformed_once"
    REFUSAL = "refusal"


class RefinerFault(StrEnum):
    """What can be wrong with the final CoT."""

    MISSING_POLICY = "missing_policy"
    OVER_FILTERED = "over_filtered"
    AGENT_TALK = "agent_talk"


class RehearsalSettings(Record):
    """Rates are shares, 0 to 1, at draw 0. Faults that strike the same thing exclude each other."""

    seed: int = 0
    repetitive: Rate = 0.06
    """Per deliberated thought: says again an earlier thought with the same words."""
    redundant: Rate = 0.06
    """Per deliberated thought: true, and adds nothing."""
    deceptive: Rate = 0.06
    """Per deliberated thought: plausible, and leads elsewhere (compliance, or a needless refusal)."""
    policy_inconsistent: Rate = 0.06
    """Per deliberated thought: misuses a rule."""
    unparsable: Rate = 0.005
    """Per call, of any role: no try parses."""
    malformed_once: Rate = 0.02
    """Per call, of any role: the first try does not parse, the re-ask does."""
    refusal: Rate = 0.01
    """Per deliberator's turn on a prompt that is to be declined: every try is a refusal in plain text."""
    stalled: Rate = 0.03
    """Per row: the first deliberator agrees at once."""
    missing_policy: Rate = 0.015
    """Per row with an applicable policy: the refined CoT leaves one of them out."""
    over_filtered: Rate = 0.01
    """Per row: the refiner drops all but the first thought and writes a line."""
    agent_talk: Rate = 0.01
    """Per row: the making-of leaks into the refined CoT."""
    whisper_fails: Rate = 0.02
    """Per row: the target gives the chosen answer again."""
    refiner_misses: Rate = 0.05
    """Per planted thought: the refiner keeps it."""
    refiner_false_removals: Rate = 0.02
    """Per sound thought: the refiner drops it."""
    seconds_per_call: Annotated[float, Field(ge=0)] = 0.0
    """Waiting time of each call, to slow a demonstration down; no answer depends on it."""

    @model_validator(mode="after")
    def _leaves_room(self) -> "RehearsalSettings":
        for names in (tuple(THOUGHT_FAULTS), tuple(CallFault), tuple(RefinerFault)):
            if sum(getattr(self, name) for name in names) > 1 + 1e-9:
                raise ValueError(f"the rates of {', '.join(names)} exclude each other and sum to more than 1")
        return self


THOUGHT_FAULTS = tuple(verdict for verdict in ThoughtVerdict if verdict is not ThoughtVerdict.KEEP)


@dataclass(frozen=True)
class Plan:
    """The planted faults: what the engine acts out and a test checks against."""

    settings: RehearsalSettings

    def call_fault(self, prompt_id: str, role: Role, place: str, draw: int, *, declines: bool) -> CallFault | None:
        """Of one call. `place` tells apart the calls of a role within a row, such as "deliberator_1@2"."""
        rates = {CallFault.UNPARSABLE: self.settings.unparsable, CallFault.MALFORMED_ONCE: self.settings.malformed_once}
        if role is Role.DELIBERATOR and declines:
            rates[CallFault.REFUSAL] = self.settings.refusal
        return _struck(rates, self._lot("call", prompt_id, role, place, draw), draw)

    def thought_fault(self, prompt_id: str, number: int, author: str) -> ThoughtVerdict:
        """What a thought is: `KEEP` when sound, else the verdict it deserves. Seed thoughts are sound."""
        if author == INITIALIZER:
            return ThoughtVerdict.KEEP
        rates = {fault: float(getattr(self.settings, fault)) for fault in THOUGHT_FAULTS}
        return _struck(rates, self._lot("thought", prompt_id, author, number), 0) or ThoughtVerdict.KEEP

    def judged(self, prompt_id: str, number: int, author: str, draw: int) -> ThoughtVerdict:
        """What the refiner says of a thought, its own errors included."""
        true = self.thought_fault(prompt_id, number, author)
        if self.refiner_fault(prompt_id, draw, covers=True) is RefinerFault.OVER_FILTERED:
            return ThoughtVerdict.KEEP if number == 1 else _dropped(true, ThoughtVerdict.REDUNDANT)
        sound = true is ThoughtVerdict.KEEP
        rate = self.settings.refiner_false_removals if sound else self.settings.refiner_misses
        if self._lot("judged", prompt_id, number, draw) >= _at(rate, draw):
            return true
        if not sound:
            return ThoughtVerdict.KEEP
        wrong = (ThoughtVerdict.REDUNDANT, ThoughtVerdict.REPETITIVE)
        return pick(wrong, self.settings.seed, "wrong", prompt_id, number)

    def refiner_fault(self, prompt_id: str, draw: int, *, covers: bool) -> RefinerFault | None:
        """Of the final CoT. `covers`: there is an applicable policy that could be left out."""
        rates = {fault: float(getattr(self.settings, fault)) for fault in RefinerFault}
        fault = _struck(rates, self._lot("refined", prompt_id, draw), draw)
        return None if fault is RefinerFault.MISSING_POLICY and not covers else fault

    def left_out(self, prompt_id: str, applicable: tuple[str, ...], draw: int) -> str:
        """The policy that a refined CoT with a missing policy lacks."""
        return pick(applicable, self.settings.seed, "left_out", prompt_id, draw)

    def agrees(self, prompt_id: str, agent: str, round_: int, draw: int) -> bool:
        """True when a deliberator agrees: seldom on the first turn, more often the longer it goes on."""
        first = round_ == 1 and agent.endswith("_1")
        chance = _at(self.settings.stalled, draw) if first else min(0.35 + 0.1 * round_, 0.8)
        return self._lot("agrees", prompt_id, agent, round_, draw) < chance

    def whisper_fails(self, prompt_id: str, draw: int) -> bool:
        return self._lot("whisper", prompt_id, draw) < _at(self.settings.whisper_fails, draw)

    def _lot(self, *parts: object) -> float:
        return lot(self.settings.seed, *parts)


def place_of(agent: str, round_: int) -> str:
    """The place of a deliberator's turn."""
    return f"{agent}@{round_}"


def _at(rate: float, draw: int) -> float:
    return rate / 10.0**draw


def _struck(rates: Mapping[F, float], drawn: float, draw: int) -> F | None:
    for fault, rate in rates.items():
        drawn -= _at(rate, draw)
        if drawn < 0:
            return fault
    return None


def _dropped(true: ThoughtVerdict, otherwise: ThoughtVerdict) -> ThoughtVerdict:
    return otherwise if true is ThoughtVerdict.KEEP else true
