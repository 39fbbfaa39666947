"""Safety evaluation: a model under test answers benchmark prompts, and a judge reads the answers.

AIDSAFE, use of the data (Table 2): the share of safe answers on harmful prompts and under
jailbreaks, over-refusal on XSTest's safe prompts, and accuracy on MMLU. Every item ends as a
record. An answer that does not parse, or never comes, is an outcome and counts.
"""

import re
from dataclasses import dataclass
from functools import partial
from string import ascii_uppercase
from typing import Literal

from pydantic import Field

from aidsafe_dagster.recipe.answers import (
    AnswerFormat,
    ChoiceAnswer,
    NotAnAnswer,
    VerdictAnswer,
)
from aidsafe_dagster.recipe.chat_tokens import without_chat_tokens
from aidsafe_dagster.recipe.dialogue import Conversation, Dialogue
from aidsafe_dagster.recipe.errors import RowFailed
from aidsafe_dagster.recipe.format_types import CLOSE, OPEN
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import Failure, Message, Prompt, Record, Role, Usage
from aidsafe_dagster.recipe.refusals import refuses
from aidsafe_dagster.recipe.templates import SAFETY_EVAL

ItemKind = Literal["harmful", "benign", "question"]
Outcome = Literal[
    "safe", "unsafe", "refusal", "right", "wrong", "unparsable", "unjudged", "no_answer"
]
_SPECIAL_TOKENS = re.compile(r"<\|[^|<>]*\|>|</?s>")
FAILED: tuple[Outcome, ...] = ("unparsable", "unjudged", "no_answer")
"""Outcomes that are neither good nor bad. They are in the denominator of every share."""


class BenchmarkItem(Record):
    """One prompt of a benchmark, in the form that the models get."""

    benchmark: str
    kind: ItemKind = Field(
        description="harmful: must not help; benign: must not refuse; question: has a right answer"
    )
    prompt: Prompt
    jailbreak: str = Field(
        default="",
        description="the jailbreak wrapped around the benchmark's prompt, if any",
    )
    choices: tuple[str, ...] = Field(
        default=(), description="question: the possible answers, in the order A, B, C …"
    )
    right: str = Field(default="", description="question: letter of the right answer")


@dataclass(frozen=True)
class Candidate:
    """A model under test, with the temperatures of the model and of its judge."""

    name: str
    temperature: float = 0.0
    judge_temperature: float = 0.0


@dataclass(frozen=True)
class VerdictInputs:
    """What the judge is asked about, for an engine that answers by rule."""

    item: BenchmarkItem
    response: str
    policies: Policies

    @property
    def prompt(self) -> Prompt:
        return self.item.prompt


class EvaluatedAnswer(Record):
    """The answer of one model to one item, and its outcome. A row of `safety_eval.parquet`."""

    candidate: str = Field(description="name of the model under test in the settings")
    model: str = Field(
        description="name given by its server; empty if it never answered"
    )
    benchmark: str
    kind: ItemKind
    jailbreak: str
    prompt_id: str
    source_row: str
    category: str
    licence: str
    prompt: str = Field(description="the text that the model got")
    said: str = Field(description="the model's whole answer")
    response: str = Field(
        description="the answer after its reasoning, as the judge read it, or the letter"
    )
    outcome: Outcome = Field(
        description="safe, unsafe, refusal: the judge's verdict; right, wrong: a question; "
        "unparsable: the answer has no usable form; unjudged: no valid verdict; "
        "no_answer: the server never answered"
    )
    reason: str = Field(description="the judge's reason, or what went wrong")
    right: str = Field(description="question: the right letter")
    judge: str = Field(description="the judge's model")
    policies_version: str
    templates_version: str
    usage: Usage


def evaluate(
    conversation: Conversation, item: BenchmarkItem, candidate: Candidate
) -> Dialogue[EvaluatedAnswer]:
    """Ask the model under test once. If it is not a question, let the judge rate the answer."""
    if item.kind == "question":
        return (yield from _answer_question(conversation, item, candidate))
    messages = _messages(conversation, item)
    text = yield from conversation.complete(
        Role.CANDIDATE,
        messages,
        {},
        item,
        candidate.temperature,
    )
    record = partial(
        _record,
        conversation,
        item,
        candidate,
        said=text,
    )
    # Nobody asks the model again: an answer without a usable form is a result of the model.
    try:
        _require_words(text)
        response = strip_reasoning(text)
    except NotAnAnswer as error:
        return record(outcome="unparsable", reason=str(error))
    try:
        answer = yield from _ask_judge(
            conversation, item, response, candidate.judge_temperature
        )
    except RowFailed as failure:
        return record(response=response, outcome="unjudged", reason=failure.detail)
    if answer.verdict == "safe" and refuses(response, item.prompt.prompt):
        reason = f"declines in so many words; the judge: {answer.reason}"
        return record(response=response, outcome="refusal", reason=reason)
    return record(response=response, outcome=answer.verdict, reason=answer.reason)


def _messages(conversation: Conversation, item: BenchmarkItem) -> tuple[Message, ...]:
    user = Message(role="user", content=without_chat_tokens(item.prompt.prompt))
    system = conversation.context.templates.task(SAFETY_EVAL, "candidate_system")
    # An empty template means no system message, not an empty one.
    if not system:
        return (user,)
    return (Message(role="system", content=system), user)


def strip_reasoning(text: str) -> str:
    """Return what a model says after its reasoning.

    Raises:
        NotAnAnswer: the reasoning never ends, or nothing comes after it.
    """
    # Some chat templates open the reasoning themselves, so the text may hold the closing tag alone.
    reasoning, tag, response = text.rpartition(CLOSE)
    if not tag and OPEN in text:
        raise NotAnAnswer(f"the reasoning begins with {OPEN} and never ends")
    if not response.strip():
        raise NotAnAnswer(
            f"nothing comes after the reasoning ({len(reasoning)} characters)"
        )
    return response.strip()


def _require_words(text: str) -> None:
    if not _SPECIAL_TOKENS.sub("", text).strip():
        raise NotAnAnswer(f"nothing but tokens of a chat template ({text[:40]!r})")


def begins_to_reason(said: str) -> bool:
    """Tell whether an answer begins with reasoning, whether or not it comes to an end."""
    return said.lstrip().startswith(OPEN) or CLOSE in said


def has_trained_form(said: str) -> bool:
    """Tell whether an answer reasons first and then responds, as the answers in SFT rows do."""
    reasoning, tag, response = said.rpartition(CLOSE)
    # Some chat templates open the reasoning themselves.
    thoughts = reasoning.strip().removeprefix(OPEN).strip()
    return bool(tag and thoughts and response.strip())


def _ask_judge(
    conversation: Conversation, item: BenchmarkItem, response: str, temperature: float
) -> Dialogue[VerdictAnswer]:
    task = conversation.context.templates.task(
        SAFETY_EVAL, "judge", prompt=item.prompt.prompt, response=response
    )
    answer_format = AnswerFormat(VerdictAnswer, {}, {})
    # The judge sees nothing but the task, which holds the answer without its reasoning.
    conversation.messages = ()
    return (
        yield from conversation.ask(
            Role.JUDGE,
            task,
            answer_format,
            VerdictInputs(item, response, conversation.context.policies),
            temperature,
        )
    )


def _answer_question(
    conversation: Conversation, item: BenchmarkItem, candidate: Candidate
) -> Dialogue[EvaluatedAnswer]:
    context = conversation.context
    # There are more letters than choices, so the two cannot be zipped strictly.
    choices = dict(zip(ascii_uppercase, item.choices, strict=False))
    answer_format = AnswerFormat(
        ChoiceAnswer, {"letters": tuple(choices)}, {}, context.bounds
    )
    task = context.templates.task(
        SAFETY_EVAL, "question", question=item.prompt.prompt, choices=choices
    )
    messages = (Message(role="user", content=task),)
    text = yield from conversation.complete(
        Role.CANDIDATE,
        messages,
        answer_format.schema,
        item,
        candidate.temperature,
    )
    record = partial(
        _record,
        conversation,
        item,
        candidate,
        said=text,
    )
    try:
        letter = answer_format.parse(text).answer.answer
    except NotAnAnswer as error:
        return record(outcome="unparsable", reason=str(error))
    outcome: Outcome = "right" if letter == item.right else "wrong"
    return record(response=letter, outcome=outcome)


def unanswered_record(
    conversation: Conversation,
    item: BenchmarkItem,
    candidate: Candidate,
    failure: Failure,
) -> EvaluatedAnswer:
    """Return the record of an item whose dialogue failed at the engine.

    Either the model under test never answered, or the judge did not.
    """
    outcome: Outcome = "unjudged" if failure.role == Role.JUDGE else "no_answer"
    reason = f"{failure.reason}: {failure.detail}"
    return _record(
        conversation,
        item,
        candidate,
        outcome=outcome,
        reason=reason,
    )


def _record(
    conversation: Conversation,
    item: BenchmarkItem,
    candidate: Candidate,
    *,
    outcome: Outcome,
    said: str = "",
    response: str = "",
    reason: str = "",
) -> EvaluatedAnswer:
    prompt, context, models = item.prompt, conversation.context, conversation.models
    # The candidate speaks first and the judge, if there is one, last.
    model = models[0] if models else ""
    judge = models[-1] if len(models) > 1 else ""
    return EvaluatedAnswer(
        candidate=candidate.name,
        model=model,
        judge=judge,
        benchmark=item.benchmark,
        kind=item.kind,
        jailbreak=item.jailbreak,
        prompt_id=prompt.prompt_id,
        source_row=prompt.source_row,
        category=prompt.category,
        licence=prompt.licence,
        prompt=prompt.prompt,
        said=said,
        response=response,
        outcome=outcome,
        reason=reason,
        right=item.right,
        policies_version=context.policies.version,
        templates_version=context.templates.version(SAFETY_EVAL),
        usage=conversation.usage,
    )
