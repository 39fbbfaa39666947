"""The row gate: requirements for a finished row, as predicates with reasons.

A row that fails becomes a `Failure` and is drawn again by the next run; the rest of its batch
continues. The suites require no more of a row than this gate does. A partition gate therefore
closes only for what a single row cannot show (missing rows, too many failures), or because a row
bypassed this gate.
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
from aidsafe_dagster.recipe.seed_cots import cot_text

Share = Annotated[float, Field(ge=0, le=1)]
Cot = SingleLlmCot | SeedCot | DeliberatedCot | RefinedCot


class CheckSettings(Record):
    """Bounds of both gates. Token counts are those of the row's own counter."""

    min_cot_tokens: Annotated[int, Field(ge=0)] = 20
    max_cot_tokens: Annotated[int, Field(ge=1)] = 4096
    max_prompt_tokens: Annotated[int, Field(ge=1)] = 4096
    """Longer prompts count as failures in the gate of `prompts`, but stay in the batch."""
    max_refined_ratio: Annotated[float, Field(gt=0)] = 1.0
    """Maximum ratio of the refined CoT's tokens to the deliberated one's."""
    min_refined_share: Share = 0.2
    """Minimum of the same ratio. Below it, the refiner has filtered too much."""
    max_failure_share: Share = 0.2
    """Maximum share of failed rows in a partition before its gate closes."""
    max_left_out_share: Share = 0.9
    """Maximum share of rows left out for lack of contrast or score, or as contaminated."""
    min_rows: Annotated[int, Field(ge=0)] = 1
    require_policy_coverage: bool = True
    """If False, coverage per row is reported but fails no row."""


@dataclass(frozen=True)
class _Rules:
    settings: CheckSettings
    policies: Policies


Predicate = Callable[[Any, _Rules], str | None]
"""Returns what is wrong with a row; None if the row may pass."""


def check_row(
    row: Record, settings: CheckSettings, policies: Policies
) -> tuple[FailureReason, str] | None:
    """Return the first reason why a row fails, with the details; None if the row passes.

    Raises:
        TypeError: the record is not a row of any stage.
    """
    if type(row) not in _GATES:
        raise TypeError(f"{type(row).__name__} is not a row of any stage")
    rules = _Rules(settings, policies)
    for reason, predicate in _GATES[type(row)]:
        detail = predicate(row, rules)
        if detail is not None:
            return reason, detail
    return None


def refined_ratio(row: RefinedCot) -> float:
    """Return the ratio of the refined CoT's tokens to the deliberated one's (at least one)."""
    return row.cot_tokens / max(row.deliberated_cot_tokens, 1)


def uncovered(row: Cot, policies: Policies) -> tuple[str, ...]:
    """Return the ids of the applicable policies of which no thought cites a rule."""
    cited = set[str]()
    for thought in row.thoughts:
        known = [rule for rule in thought.rules if rule in policies.rule_ids]
        cited.update(rule.partition(".")[0] for rule in known)
    return tuple(policy for policy in row.applicable_policies if policy not in cited)


def _blank_text(row: Cot, _: _Rules) -> str | None:
    if not row.thoughts:
        return "no thoughts"
    blank = [str(thought.number) for thought in row.thoughts if not thought.text.strip()]
    if blank:
        return f"blank thought {', '.join(blank)}"
    return None if row.response.strip() else "blank response"


def _too_short(row: Cot, rules: _Rules) -> str | None:
    minimum = rules.settings.min_cot_tokens
    if row.cot_tokens >= minimum:
        return None
    return f"{row.cot_tokens} tokens, at least {minimum} are due"


def _too_long(row: Cot, rules: _Rules) -> str | None:
    return _above_maximum(row.cot_tokens, rules.settings.max_cot_tokens)


def _above_maximum(tokens: int, maximum: int) -> str | None:
    if tokens <= maximum:
        return None
    return f"{tokens} tokens, at most {maximum} may be"


def _unknown_rule(row: Cot, rules: _Rules) -> str | None:
    for thought in row.thoughts:
        for rule in thought.rules:
            if rule not in rules.policies.rule_ids:
                return f"thought {thought.number} cites '{rule}', which no policy has"
    return None


def _refined_longer(row: RefinedCot, rules: _Rules) -> str | None:
    if refined_ratio(row) <= rules.settings.max_refined_ratio:
        return None
    return _describe_ratio(row)


def _over_filtered(row: RefinedCot, rules: _Rules) -> str | None:
    if refined_ratio(row) >= rules.settings.min_refined_share:
        return None
    return _describe_ratio(row)


def _describe_ratio(row: RefinedCot) -> str:
    tokens = f"{row.cot_tokens} tokens of {row.deliberated_cot_tokens}"
    return f"{tokens} before refinement: {refined_ratio(row):.2f}"


def _policy_not_covered(row: RefinedCot, rules: _Rules) -> str | None:
    if not rules.settings.require_policy_coverage:
        return None
    missing = uncovered(row, rules.policies)
    return f"no final thought cites a rule of {', '.join(missing)}" if missing else None


def _agent_talk(row: RefinedCot, _: _Rules) -> str | None:
    parts = {"CoT": cot_text(row.thoughts), "response": row.response}
    for part, text in parts.items():
        phrase = agent_talk(text, row.prompt)
        if phrase:
            return f"the {part} says '{phrase}'"
    return None


def _blank_pair(row: PreferencePair, _: _Rules) -> str | None:
    sides = ("belief", "chosen_cot", "chosen_response", "rejected_cot", "rejected_response")
    blank = [side for side in sides if not getattr(row, side).strip()]
    return f"blank {', '.join(blank)}" if blank else None


def _rejected_too_long(row: PreferencePair, rules: _Rules) -> str | None:
    return _above_maximum(row.rejected_cot_tokens, rules.settings.max_cot_tokens)


def _no_contrast(row: PreferencePair, _: _Rules) -> str | None:
    chosen = (row.chosen_cot, row.chosen_response)
    rejected = (row.rejected_cot, row.rejected_response)
    return "chosen and rejected are the same text" if chosen == rejected else None


_COT_PREDICATES: tuple[tuple[FailureReason, Predicate], ...] = (
    (FailureReason.NULL_TEXT, _blank_text),
    (FailureReason.COT_TOO_SHORT, _too_short),
    (FailureReason.COT_TOO_LONG, _too_long),
    (FailureReason.UNKNOWN_RULE, _unknown_rule),
)
_GATES: Mapping[type[Record], tuple[tuple[FailureReason, Predicate], ...]] = {
    Prompt: (),
    SingleLlmCot: _COT_PREDICATES,
    SeedCot: _COT_PREDICATES,
    DeliberatedCot: _COT_PREDICATES,
    RefinedCot: (
        *_COT_PREDICATES,
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
