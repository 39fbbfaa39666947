"""The plan: which fault strikes where.

Every decision is a function of the settings' seed, the prompt's id, the place (role, turn or thought number) and the
draw. Nothing is remembered: the refiner works out for itself which thoughts were planted, and a test works out what the
refiner has to say of them. Deciding lots are drawn apart from those that choose words, so prose can change without
moving a fault.

A thought's fault knows no draw, because the refiner cannot see in which draw a thought was made. All other faults do,
and each further draw plants a tenth of the one before, so that a retried row gets through.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from aidsafe_dagster.engines.rehearsal.faults import (
    THOUGHT_FAULTS,
    BaselineFault,
    CallFault,
    RefinerFault,
    RehearsalSettings,
)
from aidsafe_dagster.engines.rehearsal.lots import lot, pick
from aidsafe_dagster.recipe.records import Metric, Role, Thought, ThoughtVerdict

F = TypeVar("F", bound=StrEnum)

INITIALIZER = "initializer"
_HARD_TO_JUDGE: Mapping[Metric, float] = {"policy_to_cot": 3.0, "response_to_cot": 0.2}
"""How much more often than elsewhere judges err by a metric."""


@dataclass(frozen=True)
class FaultPlan:
    """The planted faults: what the engine acts out and a test checks against."""

    settings: RehearsalSettings

    def call_fault(
        self, prompt_id: str, role: Role, place: str, draw: int, *, declines: bool
    ) -> CallFault | None:
        """Of one call. `place` tells apart the calls of a role within a row, such as "deliberator_1@2"."""
        rates = {
            CallFault.UNPARSABLE: self.settings.unparsable,
            CallFault.MALFORMED_ONCE: self.settings.malformed_once,
        }
        if role in (Role.DELIBERATOR, Role.SINGLE_LLM) and declines:
            rates[CallFault.REFUSAL] = self.settings.refusal
        return _struck(rates, self._lot("call", prompt_id, role, place, draw), draw)

    def thought_fault(self, prompt_id: str, author: str, round_: int, nth: int) -> ThoughtVerdict:
        """What the author's `nth` thought (0-based) of a round is: `KEEP` when sound, else the verdict it deserves.

        Seed thoughts are sound.
        """
        if author == INITIALIZER:
            return ThoughtVerdict.KEEP
        rates = {fault: float(getattr(self.settings, fault)) for fault in THOUGHT_FAULTS}
        return (
            _struck(rates, self._lot("thought", prompt_id, author, round_, nth), 0)
            or ThoughtVerdict.KEEP
        )

    def thought_faults(
        self, prompt_id: str, thoughts: Iterable[Thought]
    ) -> dict[int, ThoughtVerdict]:
        """What each of a row's thoughts is, by its number."""
        seen, faults = Counter[tuple[str, int]](), dict[int, ThoughtVerdict]()
        for thought in thoughts:
            turn = (thought.agent, thought.round)
            faults[thought.number] = self.thought_fault(prompt_id, *turn, seen[turn])
            seen[turn] += 1
        return faults

    def judged(
        self, prompt_id: str, number: int, true: ThoughtVerdict, draw: int
    ) -> ThoughtVerdict:
        """What the refiner says of a thought that is `true`, its own errors included."""
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

    def baseline_faults(
        self, prompt_id: str, *, borderline: bool, covers: bool
    ) -> frozenset[BaselineFault]:
        """Of a single-LLM CoT; like thoughts' faults they know no draw, since a judge cannot see one either."""
        possible = {BaselineFault.LEFT_OUT: covers, BaselineFault.OVER_REFUSAL: borderline}
        return frozenset(
            fault
            for fault in BaselineFault
            if possible.get(fault, True)
            and self._lot(fault, prompt_id) < getattr(self.settings, fault)
        )

    def baseline_lacks(self, prompt_id: str, due: tuple[str, ...]) -> str:
        """The policy that a single-LLM CoT leaves out."""
        return pick(due, self.settings.seed, "baseline_lacks", prompt_id)

    def is_stubborn(self, prompt_id: str, draw: int) -> bool:
        """True when no belief moves the target."""
        return self._lot("stubborn", prompt_id, draw) < _at(self.settings.stubborn, draw)

    def whisper_fails(self, prompt_id: str, draw: int) -> bool:
        """True when the target gives the chosen answer again."""
        return self._lot("whisper", prompt_id, draw) < _at(self.settings.whisper_fails, draw)

    def judge_error(self, prompt_id: str, judge: str, place: str, metric: Metric) -> int:
        """How far a judge's score is off what the answer deserves: -1, 0 or 1."""
        drawn = self._lot("judge_error", prompt_id, judge, place, metric)
        rate = min(1.0, self.settings.judge_noise * _HARD_TO_JUDGE.get(metric, 1.0))
        return 0 if drawn >= rate else -1 if drawn < rate / 2 else 1

    def leaning(self, prompt_id: str, judge: str, pair: tuple[str, ...]) -> float:
        """-1 to 1: how a judge's taste leans, in a comparison, towards the version that is named first in `pair`."""
        return 2 * self._lot("leaning", prompt_id, judge, *pair) - 1

    def prefers_the_first(self, prompt_id: str, judge: str, pair: tuple[str, ...]) -> bool:
        """True when a judge goes by the order alone."""
        return self._lot("position", prompt_id, judge, *pair) < self.settings.position_bias

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
