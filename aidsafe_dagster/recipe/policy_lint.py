"""Reviewing rules with a model: is a rule clear, and does another say the same or the opposite?

One call a rule, with all policies in the system message, names what it may collide with. Each pair
that is named is then looked at by itself: only a request on which both rules cannot be kept makes
it a contradiction.
"""

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from aidsafe_dagster.recipe.answers import (
    Answer,
    AnswerFormat,
    RuleId,
    ShortText,
    ThoughtText,
)
from aidsafe_dagster.recipe.dialogue import Conversation, Dialogue, DialogueContext
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.policy_editor import (
    POLICY_WORK,
    editor_conversation,
    require_reason,
)
from aidsafe_dagster.recipe.records import Prompt, Role

Clarity = Literal["clear", "vague", "untestable"]
PairVerdict = Literal["contradiction", "duplicate", "neither"]
TEMPERATURE = 0.0
"""A review is to say the same twice."""


class RuleReviewAnswer(Answer):
    reason: ShortText
    clarity: Clarity
    duplicates: list[RuleId] = Field(max_length=4)
    contradicts: list[RuleId] = Field(max_length=4)


class PairReviewAnswer(Answer):
    request: ThoughtText
    reason: ShortText
    verdict: PairVerdict


@dataclass(frozen=True)
class RuleReview:
    rule: str
    clarity: Clarity
    reason: str
    related: tuple[str, ...]
    """Rules that may say the same or the opposite."""


@dataclass(frozen=True)
class PairReview:
    first: str
    second: str
    verdict: PairVerdict
    reason: str
    request: str
    """On which both bear."""


@dataclass(frozen=True)
class ReviewInputs:
    prompt: Prompt
    policies: Policies
    rule: str


@dataclass(frozen=True)
class PairInputs:
    prompt: Prompt
    policies: Policies
    first: str
    second: str


def review_conversation(context: DialogueContext, *rules: str) -> Conversation:
    texts = "\n".join(context.policies.rule(rule) for rule in rules)
    return editor_conversation(context, texts, "review", *rules)


def review_rule(conversation: Conversation, rule: str) -> Dialogue[RuleReview]:
    """Review one rule beside all others.

    Raises:
        RowFailed: no answer was valid.
    """
    context = conversation.context
    policies = context.policies
    task = context.templates.task(
        POLICY_WORK, "review", rule=rule, text=policies.rule(rule)
    )
    answer = yield from conversation.ask(
        Role.POLICY_EDITOR,
        task,
        AnswerFormat(RuleReviewAnswer, {"rules": policies.rule_ids}, {}),
        ReviewInputs(conversation.prompt, policies, rule),
        TEMPERATURE,
        check=lambda answer: _check_review(answer, policies),
    )
    related = dict.fromkeys((*answer.contradicts, *answer.duplicates))
    related.pop(rule, None)
    return RuleReview(rule, answer.clarity, answer.reason, tuple(related))


def _check_review(answer: RuleReviewAnswer, policies: Policies) -> None:
    # Of a clear rule, nobody reads why.
    if answer.clarity != "clear":
        require_reason(answer.reason, policies.rule_ids)


def _check_pair(answer: PairReviewAnswer, policies: Policies) -> None:
    if answer.verdict != "neither":
        require_reason(answer.reason, policies.rule_ids)


def review_pair(
    conversation: Conversation, first: str, second: str
) -> Dialogue[PairReview]:
    """Say whether two rules are the same, contradict each other, or neither.

    Raises:
        RowFailed: no answer was valid.
    """
    context = conversation.context
    policies = context.policies
    rules = {rule: policies.rule(rule) for rule in (first, second)}
    task = context.templates.task(POLICY_WORK, "pair", rules=rules)
    answer = yield from conversation.ask(
        Role.POLICY_EDITOR,
        task,
        AnswerFormat(PairReviewAnswer, {}, {}),
        PairInputs(conversation.prompt, policies, first, second),
        TEMPERATURE,
        check=lambda answer: _check_pair(answer, policies),
    )
    return PairReview(first, second, answer.verdict, answer.reason, answer.request)
