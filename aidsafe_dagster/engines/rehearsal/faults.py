"""What goes wrong in a rehearsal, and how often: the kinds of faults and their rates."""

import hashlib
from enum import StrEnum
from typing import Annotated

from pydantic import Field, model_validator

from aidsafe_dagster.recipe.records import Record

Rate = Annotated[float, Field(ge=0, le=1)]


class Fault(StrEnum):
    """A kind of fault; the value is the name of its rate in `RehearsalSettings`."""

    REPETITIVE = "repetitive"
    REDUNDANT = "redundant"
    DECEPTIVE = "deceptive"
    POLICY_INCONSISTENT = "policy_inconsistent"
    UNPARSABLE = "unparsable"
    MALFORMED_ONCE = "malformed_once"
    REFUSAL = "refusal"
    BASELINE_LEFT_OUT = "baseline_left_out"
    BASELINE_SHALLOW = "baseline_shallow"
    BASELINE_OFF_POLICY = "baseline_off_policy"
    BASELINE_OVER_REFUSAL = "baseline_over_refusal"
    STALLED = "stalled"
    MISSING_POLICY = "missing_policy"
    OVER_FILTERED = "over_filtered"
    AGENT_TALK = "agent_talk"
    WHISPER_FAILS = "whisper_fails"
    STUBBORN = "stubborn"


THOUGHT_FAULTS = (
    Fault.REPETITIVE,
    Fault.REDUNDANT,
    Fault.DECEPTIVE,
    Fault.POLICY_INCONSISTENT,
)
"""The values are those of `ThoughtVerdict`."""
CALL_FAULTS = (Fault.UNPARSABLE, Fault.MALFORMED_ONCE, Fault.REFUSAL)
REFINER_FAULTS = (Fault.MISSING_POLICY, Fault.OVER_FILTERED, Fault.AGENT_TALK)


class RehearsalSettings(Record):
    """Rates are shares, 0 to 1, of the first draw.

    Every further draw of a call plants a tenth of the one before, so that a retried row gets
    through. Faults of the same group (thoughts, calls, refined CoTs) exclude each other.
    """

    # The model's name is a hash of these fields in their order; see `model`.
    seed: int = 0
    repetitive: Rate = 0.06
    """Per deliberated thought: it says an earlier thought again, in the same words."""
    redundant: Rate = 0.06
    """Per deliberated thought: it is true and adds nothing."""
    deceptive: Rate = 0.06
    """Per deliberated thought: it sounds right and leads to compliance or a needless refusal."""
    policy_inconsistent: Rate = 0.06
    """Per deliberated thought: it misuses a rule."""
    unparsable: Rate = 0.005
    """Per call, of any role: no try parses."""
    malformed_once: Rate = 0.02
    """Per call, of any role: the first try does not parse, the re-ask does."""
    refusal: Rate = 0.01
    """Per single-LLM CoT and per deliberator's turn, on a prompt that has to be declined: every
    try is a refusal in plain text."""
    baseline_left_out: Rate = 0.15
    """Per single-LLM CoT with an applicable policy: it leaves one of them out."""
    baseline_shallow: Rate = 0.2
    """Per single-LLM CoT: a thought has one sentence, where an agent's has three."""
    baseline_off_policy: Rate = 0.1
    """Per single-LLM CoT: it has one more thought, which misuses a rule."""
    baseline_over_refusal: Rate = 0.25
    """Per single-LLM CoT on a borderline prompt: it refuses without need."""
    stalled: Rate = 0.03
    """Per row: the first deliberator agrees at once; at a round table, all of them do."""
    missing_policy: Rate = 0.015
    """Per row with an applicable policy: the refined CoT leaves one of them out."""
    over_filtered: Rate = 0.01
    """Per row: the refiner drops all but the first thought and writes a line."""
    agent_talk: Rate = 0.01
    """Per row: the making-of leaks into the refined CoT."""
    whisper_fails: Rate = 0.02
    """Per row: the target gives the chosen answer again, whatever the belief."""
    stubborn: Rate = 0.03
    """Per row: the target answers as it does without a belief, whatever the belief."""
    refiner_misses: Rate = 0.05
    """Per planted thought: the refiner keeps it."""
    refiner_false_removals: Rate = 0.02
    """Per sound thought: the refiner drops it."""
    judge_noise: Rate = 0.1
    """Per score: a judge is one point off what the answer deserves. The rate is three times as
    high for the faithfulness of a CoT to the policies, and a fifth for that of a response to its
    CoT."""
    position_bias: Rate = 0.1
    """Per comparison: a judge prefers what it is shown first, whatever it is."""
    contrary: Rate = 0.6
    """Per prompt that is asked under a second set of policies: that set asks for the opposite, so
    the answer turns, and a judge holds either answer against the other set."""
    seconds_per_call: Annotated[float, Field(ge=0)] = 0.0
    """Seconds that each call takes, to slow a demonstration down; no answer depends on it."""

    @property
    def model(self) -> str:
        """The model's name: it hashes all settings that answers depend on."""
        without = {"seconds_per_call"}
        # It came later. At its default, journals of earlier releases are replayed.
        if self.contrary == type(self).model_fields["contrary"].default:
            without.add("contrary")
        text = self.model_dump_json(exclude=without)
        digest = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
        return f"rehearsal-{digest}"

    def rate(self, fault: str, draw: int = 0) -> float:
        """Return the rate of a fault, by its name, at a draw."""
        rate = float(getattr(self, fault))
        return rate / 10.0**draw

    @model_validator(mode="after")
    def _check_sums(self) -> "RehearsalSettings":
        for group in (THOUGHT_FAULTS, CALL_FAULTS, REFINER_FAULTS):
            # The sum of exact shares such as ten times 0.1 may lie a hair above 1.
            if sum(self.rate(fault) for fault in group) > 1 + 1e-9:
                raise ValueError(
                    f"the rates of {', '.join(group)} exclude each other and sum to more than 1"
                )
        return self
