"""The row gate: predicates that decide whether a finished row may go on, each with its reason.

A row that fails becomes a `Failure`, and the next run draws it again; the rest of its batch goes
on. The table of stages (`recipe/stages.py`) lists the checks of each stage. The suites of the
partition gate (`quality/suites.py`) demand nothing of a single row that this gate does not, so a
partition gate closes for what a row cannot show: missing rows, too many failures, or rows that went
around this gate.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from aidsafe_dagster.recipe.agent_talk import agent_talk
from aidsafe_dagster.recipe.bad_answers import (
    describe_text,
    empty_text,
    repeated_thoughts,
    rule_ids,
    wrong_language,
)
from aidsafe_dagster.recipe.bad_text import BadTextSettings
from aidsafe_dagster.recipe.languages import LanguageOf, asked_text
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import (
    DeliberatedCot,
    FailureReason,
    PreferencePair,
    Record,
    RefinedCot,
    SeedCot,
    SingleLlmCot,
)
from aidsafe_dagster.recipe.seed_cots import join_thoughts

Share = Annotated[float, Field(ge=0, le=1)]
Cot = SingleLlmCot | SeedCot | DeliberatedCot | RefinedCot


class CheckSettings(BadTextSettings):
    """Bounds of the row gate and of the partition gate. The row's own counter counts the tokens.

    Those of bad text hold for single answers as well.
    """

    min_cot_tokens: Annotated[int, Field(ge=0)] = 20
    max_cot_tokens: Annotated[int, Field(ge=1)] = 4096
    max_prompt_tokens: Annotated[int, Field(ge=1)] = 4096
    """Longer prompts count as failures in the gate of `prompts`; they stay in the batch."""
    max_refined_ratio: Annotated[float, Field(gt=0)] = 1.5
    """Tokens of the refined CoT divided by those of the deliberated one, above which it fails."""
    max_median_refined_ratio: Annotated[float, Field(gt=0)] = 1.0
    """Median of that ratio over a batch, above which `refined_length` warns."""
    min_refined_share: Share = 0.2
    """The same ratio, below which the refiner has filtered too much."""
    max_failure_share: Share = 0.2
    """Share of a partition's rows that may fail before its gate closes."""
    max_left_out_share: Share = 0.9
    """Share that may be left out (no contrast, low score, contaminated) before its gate closes."""
    min_rows: Annotated[int, Field(ge=0)] = 1
    min_policy_share: Share = 0.01
    """Share of a batch's rows to which a policy applies, below which `policy_breadth` warns."""


@dataclass(frozen=True)
class GateContext:
    """What a predicate may look at besides the row."""

    settings: CheckSettings
    policies: Policies
    language_of: LanguageOf | None = None


class RowCheck(NamedTuple):
    """One predicate of the row gate, and the failure reason of the rows that it stops."""

    reason: FailureReason
    predicate: Callable[[Any, GateContext], str | None]
    """Describes what is wrong with the row; None when the row may pass."""


def first_failure(
    row: Record,
    checks: Sequence[RowCheck],
    settings: CheckSettings,
    policies: Policies,
    language_of: LanguageOf | None = None,
) -> tuple[FailureReason, str] | None:
    """Return reason and description of the first check that the row fails; None if it passes."""
    context = GateContext(settings, policies, language_of)
    # A row counts under one reason only: that of the first check it fails.
    for check in checks:
        description = check.predicate(row, context)
        if description is not None:
            return check.reason, description
    return None


def refined_ratio(row: RefinedCot) -> float:
    """Tokens of the refined CoT divided by those of the deliberated one (counted as at least 1)."""
    return row.cot_tokens / max(row.deliberated_cot_tokens, 1)


def uncovered(row: Cot, policies: Policies) -> tuple[str, ...]:
    """Ids of the applicable policies of which no thought cites a rule."""
    rules = chain.from_iterable(thought.rules for thought in row.thoughts)
    return policies.uncovered(row.applicable_policies, rules)


def _blank_text(row: Cot, _: GateContext) -> str | None:
    if not row.thoughts:
        return "no thoughts"
    blank = []
    for thought in row.thoughts:
        if not thought.text.strip():
            blank.append(str(thought.number))
    if blank:
        listing = ", ".join(blank)
        return f"blank thought {listing}"
    if not row.response.strip():
        return "blank response"
    return None


def _too_short(row: Cot, context: GateContext) -> str | None:
    minimum = context.settings.min_cot_tokens
    if row.cot_tokens < minimum:
        return f"{row.cot_tokens} tokens; the minimum is {minimum}"
    return None


def _too_long(row: Cot, context: GateContext) -> str | None:
    return _over_maximum(row.cot_tokens, context)


def _over_maximum(tokens: int, context: GateContext) -> str | None:
    maximum = context.settings.max_cot_tokens
    if tokens > maximum:
        return f"{tokens} tokens; the maximum is {maximum}"
    return None


def _unknown_rule(row: Cot, context: GateContext) -> str | None:
    for thought in row.thoughts:
        for rule in thought.rules:
            if rule not in context.policies.rule_ids:
                return f"thought {thought.number} cites '{rule}', which no policy has"
    return None


def _refined_longer(row: RefinedCot, context: GateContext) -> str | None:
    if refined_ratio(row) > context.settings.max_refined_ratio:
        return _describe_ratio(row)
    return None


def _over_filtered(row: RefinedCot, context: GateContext) -> str | None:
    if refined_ratio(row) < context.settings.min_refined_share:
        return _describe_ratio(row)
    return None


def _describe_ratio(row: RefinedCot) -> str:
    before, after = row.deliberated_cot_tokens, row.cot_tokens
    ratio = refined_ratio(row)
    return f"{after} tokens after refinement, {before} before: a ratio of {ratio:.2f}"


def _policy_not_covered(row: RefinedCot, context: GateContext) -> str | None:
    if not context.settings.require_policy_coverage:
        return None
    missing = uncovered(row, context.policies)
    if not missing:
        return None
    listing = ", ".join(missing)
    return f"no final thought cites a rule of {listing}"


def _agent_talk(row: RefinedCot, _: GateContext) -> str | None:
    texts = (("CoT", join_thoughts(row.thoughts)), ("response", row.response))
    for part, text in texts:
        phrase = agent_talk(text, row.whole)
        if phrase:
            return f"the {part} says '{phrase}'"
    return None


def _bad_text(row: Cot, context: GateContext) -> str | None:
    texts = [("thought", thought.text) for thought in row.thoughts]
    texts.append(("response", row.response))
    settings = context.settings
    for field, text in texts:
        reason = describe_text(text, row.whole, settings, field)
        if reason is None:
            reason = empty_text(text, row.whole, settings, field)
        if reason is not None:
            return f"{field}: {reason}"
    return None


def _wrong_language(row: Cot, context: GateContext) -> str | None:
    texts = [("thought", thought.text) for thought in row.thoughts]
    texts.append(("response", row.response))
    for field, text in texts:
        reason = wrong_language(
            text, asked_text(row), context.settings, field, context.language_of
        )
        if reason is not None:
            return f"{field}: {reason}"
    return None


def _repeated_thoughts(row: Cot, context: GateContext) -> str | None:
    texts = [thought.text for thought in row.thoughts]
    most = context.settings.max_repeated_thoughts
    # The refiner is there to drop what the agents said again.
    if isinstance(row, DeliberatedCot):
        most = context.settings.max_repeated_deliberated
    return repeated_thoughts(texts, most)


def _rule_ids(row: RefinedCot, context: GateContext) -> str | None:
    texts = (("CoT", join_thoughts(row.thoughts)), ("response", row.response))
    return _first_rule_id(texts, row.whole, context)


def _first_rule_id(
    texts: Sequence[tuple[str, str]], prompt: str, context: GateContext
) -> str | None:
    for part, text in texts:
        reason = rule_ids(text, prompt, context.settings, context.policies.ids)
        if reason is not None:
            return f"{part}: {reason}"
    return None


def _rests_on_dropped(row: RefinedCot, context: GateContext) -> str | None:
    if row.rests_on_dropped and context.settings.reject_rests_on_dropped:
        return "a final thought is made from dropped thoughts alone"
    return None


def _bad_rejected_text(row: PreferencePair, context: GateContext) -> str | None:
    texts = (
        ("rejected CoT", row.rejected_cot),
        ("rejected response", row.rejected_response),
    )
    for part, text in texts:
        reason = describe_text(text, row.whole, context.settings, part)
        if reason is not None:
            return f"{part}: {reason}"
    return _first_rule_id(texts, row.whole, context)


def _blank_pair(row: PreferencePair, _: GateContext) -> str | None:
    sides = (
        "belief",
        "chosen_cot",
        "chosen_response",
        "rejected_cot",
        "rejected_response",
    )
    blank = [side for side in sides if not getattr(row, side).strip()]
    if not blank:
        return None
    listing = ", ".join(blank)
    return f"blank {listing}"


def _rejected_too_long(row: PreferencePair, context: GateContext) -> str | None:
    return _over_maximum(row.rejected_cot_tokens, context)


def _no_contrast(row: PreferencePair, _: GateContext) -> str | None:
    chosen = (row.chosen_cot, row.chosen_response)
    rejected = (row.rejected_cot, row.rejected_response)
    if chosen == rejected:
        return "chosen and rejected are the same text"
    return None


COT_CHECKS = (
    RowCheck(FailureReason.NULL_TEXT, _blank_text),
    RowCheck(FailureReason.COT_TOO_SHORT, _too_short),
    RowCheck(FailureReason.COT_TOO_LONG, _too_long),
    RowCheck(FailureReason.UNKNOWN_RULE, _unknown_rule),
    RowCheck(FailureReason.BAD_TEXT, _bad_text),
    RowCheck(FailureReason.BAD_TEXT, _repeated_thoughts),
)
"""For any row with thoughts and a response."""

REFINED_COT_CHECKS = (
    *COT_CHECKS,
    RowCheck(FailureReason.REFINED_LONGER, _refined_longer),
    RowCheck(FailureReason.OVER_FILTERED, _over_filtered),
    RowCheck(FailureReason.POLICY_NOT_COVERED, _policy_not_covered),
    RowCheck(FailureReason.AGENT_TALK, _agent_talk),
    RowCheck(FailureReason.BAD_TEXT, _rule_ids),
    RowCheck(FailureReason.BAD_TEXT, _wrong_language),
    RowCheck(FailureReason.BAD_TEXT, _rests_on_dropped),
)

# The chosen side passed the gate of the refined CoTs. The rejected side is meant to be bad, so it
# may break rules and be short, but an over-long one could not be trained on, and nothing is learnt
# from a loop or a placeholder.
PAIR_CHECKS = (
    RowCheck(FailureReason.NULL_TEXT, _blank_pair),
    RowCheck(FailureReason.COT_TOO_LONG, _rejected_too_long),
    RowCheck(FailureReason.NO_CONTRAST, _no_contrast),
    RowCheck(FailureReason.BAD_TEXT, _bad_rejected_text),
)
