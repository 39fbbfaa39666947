"""Safety evaluation: a model under test answers benchmark prompts as an ordinary assistant; a judge reads what it says.

AIDSAFE, use of the data (Table 2): share of safe answers on harmful prompts and under jailbreaks, over-refusal on
XSTest's safe prompts, accuracy on MMLU. Every item ends as a record: an answer that does not parse, and one that never
came, are outcomes and count.
"""

from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any, Literal

from pydantic import Field

from aidsafe_dagster.recipe.answers import AnswerFormat, ChoiceAnswer, NotAnAnswer, VerdictAnswer
from aidsafe_dagster.recipe.dialogue import Conversation, Dialogue
from aidsafe_dagster.recipe.errors import RowFailed
from aidsafe_dagster.recipe.formats import CLOSE, OPEN
from aidsafe_dagster.recipe.records import Failure, Message, Prompt, Record, Role, Usage
from aidsafe_dagster.recipe.templates import SAFETY_EVAL

ItemKind = Literal["harmful", "benign", "question"]
Outcome = Literal[
    "safe", "unsafe", "refusal", "right", "wrong", "unparsable", "unjudged", "no_answer"
]
FAILED: tuple[Outcome, ...] = ("unparsable", "unjudged", "no_answer")
"""Neither good nor bad, and in the denominator of every share."""


class BenchmarkItem(Record):
    """One prompt of a benchmark, as it is put to the models."""

    benchmark: str
    kind: ItemKind = Field(
        description="harmful: must not help; benign: must not refuse; question: has a right answer"
    )
    prompt: Prompt
    jailbreak: str = Field(
        default="", description="the wrapper around the benchmark's prompt, if any"
    )
    choices: tuple[str, ...] = Field(
        default=(), description="question: the possible answers, A first"
    )
    right: str = Field(default="", description="question: letter of the right answer")


@dataclass(frozen=True)
class Candidate:
    """A model under test, and how it and its judge are sampled."""

    name: str
    temperature: float = 0.0
    judge_temperature: float = 0.0


class EvaluatedAnswer(Record):
    """What one model under test said to one item, and what came of it. A row of `safety_eval.parquet`."""

    candidate: str = Field(description="name of the model under test in the settings")
    model: str = Field(description="as its server names it; empty if it never answered")
    benchmark: str
    kind: ItemKind
    jailbreak: str
    prompt_id: str
    source_row: str
    category: str
    licence: str
    prompt: str = Field(description="as it was put to the model")
    said: str = Field(description="all that the model said")
    response: str = Field(
        description="what comes after its reasoning: what the judge read, or the letter"
    )
    outcome: Outcome = Field(
        description="safe, unsafe, refusal: the judge's verdict; right, wrong: a question; unparsable: the answer has "
        "no usable form; unjudged: no valid verdict; no_answer: the server never gave one"
    )
    reason: str = Field(description="the judge's, or what went wrong")
    right: str = Field(description="question: the right letter")
    judge: str = Field(description="the judge's model")
    policies_version: str
    templates_version: str
    usage: Usage


def evaluate(
    conversation: Conversation, item: BenchmarkItem, candidate: Candidate
) -> Dialogue[EvaluatedAnswer]:
    """One answer of the model under test, asked once and not again, and for prompts the judge's verdict on it."""
    if item.kind == "question":
        return (yield from _questioned(conversation, item, candidate))
    said = yield from conversation.complete(
        Role.CANDIDATE, _opening(conversation, item), {}, item, candidate.temperature
    )
    try:
        response = strip_reasoning(said)
    except NotAnAnswer as error:
        return _record(
            conversation, item, candidate, said=said, outcome="unparsable", reason=str(error)
        )
    values: dict[str, Any] = {"said": said, "response": response}
    try:
        verdict = yield from _judged(conversation, item, response, candidate.judge_temperature)
    except RowFailed as failed:
        return _record(
            conversation, item, candidate, **values, outcome="unjudged", reason=failed.detail
        )
    return _record(
        conversation, item, candidate, **values, outcome=verdict.verdict, reason=verdict.reason
    )


def _opening(conversation: Conversation, item: BenchmarkItem) -> tuple[Message, ...]:
    """The system message, unless its template is empty, and the prompt as a user's turn."""
    system = conversation.context.templates.task(SAFETY_EVAL, "candidate_system")
    told = (Message(role="system", content=system),) if system else ()
    return (*told, Message(role="user", content=item.prompt.prompt))


def strip_reasoning(said: str) -> str:
    """What a model says once it has thought.

    Raises:
        NotAnAnswer: its reasoning never ends, or nothing comes after it.
    """
    thought, end, response = said.rpartition(CLOSE)
    if not end and OPEN in said:
        raise NotAnAnswer(f"the reasoning begins with {OPEN} and never ends")
    if not response.strip():
        raise NotAnAnswer(f"nothing comes after the reasoning ({len(thought)} characters)")
    return response.strip()


def _judged(
    conversation: Conversation, item: BenchmarkItem, response: str, temperature: float
) -> Dialogue[VerdictAnswer]:
    conversation.messages = ()
    task = conversation.context.templates.task(
        SAFETY_EVAL, "judge", prompt=item.prompt.prompt, response=response
    )
    return (
        yield from conversation.ask(
            Role.JUDGE, task, AnswerFormat(VerdictAnswer, {}, {}), item, temperature
        )
    )


def _questioned(
    conversation: Conversation, item: BenchmarkItem, candidate: Candidate
) -> Dialogue[EvaluatedAnswer]:
    context = conversation.context
    choices = dict(zip(ascii_uppercase, item.choices, strict=False))
    form = AnswerFormat(ChoiceAnswer, {"letters": tuple(choices)}, {}, context.bounds)
    task = context.templates.task(
        SAFETY_EVAL, "question", question=item.prompt.prompt, choices=choices
    )
    messages = (Message(role="user", content=task),)
    said = yield from conversation.complete(
        Role.CANDIDATE, messages, form.schema, item, candidate.temperature
    )
    try:
        letter = form.parse(said).answer
    except NotAnAnswer as error:
        return _record(
            conversation, item, candidate, said=said, outcome="unparsable", reason=str(error)
        )
    outcome = "right" if letter == item.right else "wrong"
    return _record(conversation, item, candidate, said=said, response=letter, outcome=outcome)


def _record(
    conversation: Conversation, item: BenchmarkItem, candidate: Candidate, **values: Any
) -> EvaluatedAnswer:
    prompt, models = item.prompt, conversation.models
    usual = {"model": "", "said": "", "response": "", "reason": "", "judge": ""}
    if models:
        usual |= {"model": models[0], "judge": models[-1] if len(models) > 1 else ""}
    return EvaluatedAnswer.model_validate(
        {
            **usual,
            **prompt.model_dump(
                include={"prompt_id", "source_row", "category", "licence", "prompt"}
            ),
            **item.model_dump(include={"benchmark", "kind", "jailbreak", "right"}),
            "candidate": candidate.name,
            "policies_version": conversation.context.policies.version,
            "templates_version": conversation.context.templates.version(SAFETY_EVAL),
            "usage": conversation.usage,
            **values,
        }
    )


def unanswered_record(
    conversation: Conversation, item: BenchmarkItem, candidate: Candidate, failure: Failure
) -> EvaluatedAnswer:
    """The record of an item whose dialogue the engine ended: nobody answered, or the judge did not."""
    outcome = "unjudged" if failure.role == Role.JUDGE else "no_answer"
    return _record(
        conversation, item, candidate, outcome=outcome, reason=f"{failure.reason}: {failure.detail}"
    )
