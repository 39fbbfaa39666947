"""What goes wrong in a rehearsal, and how often: the kinds of faults, and their rates as settings."""

import hashlib
from enum import StrEnum
from typing import Annotated

from pydantic import Field, model_validator

from aidsafe_dagster.recipe.records import Record, ThoughtVerdict

Rate = Annotated[float, Field(ge=0, le=1)]


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


class BaselineFault(StrEnum):
    """What can be wrong with a single-LLM CoT; several may strike one row."""

    LEFT_OUT = "baseline_left_out"
    SHALLOW = "baseline_shallow"
    OFF_POLICY = "baseline_off_policy"
    OVER_REFUSAL = "baseline_over_refusal"


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
    """Per single-LLM CoT, and per deliberator's turn, on a prompt that is to be declined: every try is a refusal in
    plain text."""
    baseline_left_out: Rate = 0.15
    """Per single-LLM CoT with an applicable policy: leaves one of them out."""
    baseline_shallow: Rate = 0.2
    """Per single-LLM CoT: one sentence a thought, where an agent's has three."""
    baseline_off_policy: Rate = 0.1
    """Per single-LLM CoT: one more thought, which misuses a rule."""
    baseline_over_refusal: Rate = 0.25
    """Per single-LLM CoT on a borderline prompt: refuses without need."""
    stalled: Rate = 0.03
    """Per row: the first deliberator agrees at once."""
    missing_policy: Rate = 0.015
    """Per row with an applicable policy: the refined CoT leaves one of them out."""
    over_filtered: Rate = 0.01
    """Per row: the refiner drops all but the first thought and writes a line."""
    agent_talk: Rate = 0.01
    """Per row: the making-of leaks into the refined CoT."""
    whisper_fails: Rate = 0.02
    """Per row: the target gives the chosen answer again, whatever the belief."""
    stubborn: Rate = 0.03
    """Per row: the target answers as without a belief, whatever it is told."""
    refiner_misses: Rate = 0.05
    """Per planted thought: the refiner keeps it."""
    refiner_false_removals: Rate = 0.02
    """Per sound thought: the refiner drops it."""
    judge_noise: Rate = 0.1
    """Per score: a judge is one point off what the answer deserves, by lots of its own; three times as often on whether
    the CoT is faithful to the policies, and seldom on whether the response is to the CoT."""
    position_bias: Rate = 0.1
    """Per comparison: a judge prefers what it is shown first, whatever it is."""
    seconds_per_call: Annotated[float, Field(ge=0)] = 0.0
    """Waiting time of each call, to slow a demonstration down; no answer depends on it."""

    @property
    def model(self) -> str:
        """Names who answers under these settings, by all that answers depend on; the waiting time is not of it."""
        text = self.model_dump_json(exclude={"seconds_per_call"})
        return f"rehearsal-{hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}"

    @model_validator(mode="after")
    def _leaves_room(self) -> "RehearsalSettings":
        for names in (tuple(THOUGHT_FAULTS), tuple(CallFault), tuple(RefinerFault)):
            if sum(getattr(self, name) for name in names) > 1 + 1e-9:
                raise ValueError(
                    f"the rates of {', '.join(names)} exclude each other and sum to more than 1"
                )
        return self


THOUGHT_FAULTS = tuple(verdict for verdict in ThoughtVerdict if verdict is not ThoughtVerdict.KEEP)
