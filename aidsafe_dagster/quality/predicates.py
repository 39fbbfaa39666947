"""The row gate: what a finished row must be to go further, as predicates with reasons.

A row that fails becomes a `Failure` and is drawn anew by the next run; the rest of its batch goes on. The suites demand
of every row no more than this gate does, so a partition gate closes for what a row cannot show (missing rows, too many
failures), or because something went around this gate.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from aidsafe_dagster.quality.agent_talk import agent_talk
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import (
    CotGrades,
    DeliberatedCot,
    FailureReason,
    FineTuneRow,
    PreferencePair,
    Prompt,
    Record,
    RefinedCot,
    SeedCot,
    SingleLlmCot,
)
from aidsafe_dagster.recipe.seed_cots import join_thoughts

Share = Annotated[float, Field(ge=0, le=1)]
Cot = SingleLlmCot | SeedCot | DeliberatedCot | RefinedCot


class CheckSettings(Record):
    """Bounds of both gates. Tokens are counted as the row's own counter did."""

    min_cot_tokens: Annotated[int, Field(ge=0)] = 20
    max_cot_tokens: Annotated[int, Field(ge=1)] = 4096
    max_prompt_tokens: Annotated[int, Field(ge=1)] = 4096
    """Longer prompts count as failures in the gate of `prompts`; they stay in the batch."""
    max_refined_ratio: Annotated[float, Field(gt=0)] = 1.0
    """Tokens of the refined CoT over those of the deliberated one."""
    min_refined_share: Share = 0.2
    """The same ratio, below which the refiner has filtered too much."""
    max_failure_share: Share = 0.2
    """Share of a partition's rows that may fail before its gate closes."""
    max_left_out_share: Share = 0.9
    """Share that may be left out for want of contrast, score or cleanness, before its gate closes."""
    min_rows: Annotated[int, Field(ge=0)] = 1
    require_policy_coverage: bool = True
    """False: coverage per row is reported and fails no row."""


@dataclass(frozen=True)
class _Rules:
    settings: CheckSettings
    policies: Policies


Predicate = Callable[[Any, _Rules], str | None]
"""What was seen in a row that must not pass, None if it may."""


def check_row(
    row: Record, settings: CheckSettings, policies: Policies
) -> tuple[FailureReason, str] | None:
    """Why a row may go no further: the first reason and what was seen. None if it may.

    Raises:
        TypeError: not a row of any stage.
    """
    if type(row) not in _GATES:
        raise TypeError(f"{type(row).__name__} is not a row of any stage")
    rules = _Rules(settings, policies)
    for reason, predicate in _GATES[type(row)]:
        if (seen := predicate(row, rules)) is not None:
            return reason, seen
    return None


def refined_ratio(row: RefinedCot) -> float:
    """Tokens of the refined CoT over those of the deliberated one, of which at least one is assumed."""
    return row.cot_tokens / max(row.deliberated_cot_tokens, 1)


def uncovered(row: Cot, policies: Policies) -> tuple[str, ...]:
    """Ids of the applicable policies none of whose rules a thought cites."""
    cited = {
        rule.partition(".")[0]
        for thought in row.thoughts
        for rule in thought.rules
        if rule in policies.rule_ids
    }
    return tuple(policy for policy in row.applicable_policies if policy not in cited)


def _blank_text(row: Cot, _: _Rules) -> str | None:
    if not row.thoughts:
        return "no thoughts"
    blank = [str(thought.number) for thought in row.thoughts if not thought.text.strip()]
    if blank:
        return f"blank thought {', '.join(blank)}"
    return None if row.response.strip() else "blank response"


def _too_short(row: Cot, rules: _Rules) -> str | None:
    least = rules.settings.min_cot_tokens
    return f"{row.cot_tokens} tokens, at least {least} are due" if row.cot_tokens < least else None


def _too_long(row: Cot, rules: _Rules) -> str | None:
    return _over(row.cot_tokens, rules.settings.max_cot_tokens)


def _over(tokens: int, most: int) -> str | None:
    return f"{tokens} tokens, at most {most} may be" if tokens > most else None


def _unknown_rule(row: Cot, rules: _Rules) -> str | None:
    for thought in row.thoughts:
        for rule in thought.rules:
            if rule not in rules.policies.rule_ids:
                return f"thought {thought.number} cites '{rule}', which no policy has"
    return None


def _refined_longer(row: RefinedCot, rules: _Rules) -> str | None:
    return _ratio_seen(row) if refined_ratio(row) > rules.settings.max_refined_ratio else None


def _over_filtered(row: RefinedCot, rules: _Rules) -> str | None:
    return _ratio_seen(row) if refined_ratio(row) < rules.settings.min_refined_share else None


def _ratio_seen(row: RefinedCot) -> str:
    return f"{row.cot_tokens} tokens of {row.deliberated_cot_tokens} before refinement: {refined_ratio(row):.2f}"


def _policy_not_covered(row: RefinedCot, rules: _Rules) -> str | None:
    missing = uncovered(row, rules.policies) if rules.settings.require_policy_coverage else ()
    return f"no final thought cites a rule of {', '.join(missing)}" if missing else None


def _agent_talk(row: RefinedCot, _: _Rules) -> str | None:
    for part, text in (("CoT", join_thoughts(row.thoughts)), ("response", row.response)):
        if said := agent_talk(text, row.prompt):
            return f"the {part} says '{said}'"
    return None


def _blank_pair(row: PreferencePair, _: _Rules) -> str | None:
    sides = ("belief", "chosen_cot", "chosen_response", "rejected_cot", "rejected_response")
    blank = [side for side in sides if not getattr(row, side).strip()]
    return f"blank {', '.join(blank)}" if blank else None


def _rejected_too_long(row: PreferencePair, rules: _Rules) -> str | None:
    return _over(row.rejected_cot_tokens, rules.settings.max_cot_tokens)


def _no_contrast(row: PreferencePair, _: _Rules) -> str | None:
    same = (row.chosen_cot, row.chosen_response) == (row.rejected_cot, row.rejected_response)
    return "chosen and rejected are the same text" if same else None


_REASONED: tuple[tuple[FailureReason, Predicate], ...] = (
    (FailureReason.NULL_TEXT, _blank_text),
    (FailureReason.COT_TOO_SHORT, _too_short),
    (FailureReason.COT_TOO_LONG, _too_long),
    (FailureReason.UNKNOWN_RULE, _unknown_rule),
)
_GATES: Mapping[type[Record], tuple[tuple[FailureReason, Predicate], ...]] = {
    Prompt: (),
    SingleLlmCot: _REASONED,
    SeedCot: _REASONED,
    DeliberatedCot: _REASONED,
    RefinedCot: (
        *_REASONED,
        (FailureReason.REFINED_LONGER, _refined_longer),
        (FailureReason.OVER_FILTERED, _over_filtered),
        (FailureReason.POLICY_NOT_COVERED, _policy_not_covered),
        (FailureReason.AGENT_TALK, _agent_talk),
    ),
    CotGrades: (),
    PreferencePair: (
        (FailureReason.NULL_TEXT, _blank_pair),
        (FailureReason.COT_TOO_LONG, _rejected_too_long),
        (FailureReason.NO_CONTRAST, _no_contrast),
    ),
    FineTuneRow: (),
}
