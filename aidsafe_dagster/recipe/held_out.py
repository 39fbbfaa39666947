"""Held-out rows: how probable a model finds answers that no adapter was trained on.

The rows of the test split are of prompts, and of clusters of prompts, that training never saw. On
an SFT row, a model that learned from the others finds the answer more probable than before. On a
pair, DPO raises the chosen answer above the rejected one (arXiv 2305.18290): the margin of their
log-probabilities grows.
"""

from typing import Literal

from pydantic import Field

from aidsafe_dagster.recipe.dialogue import Conversation, Dialogue
from aidsafe_dagster.recipe.errors import RowFailed
from aidsafe_dagster.recipe.fine_tune_splits import question_of
from aidsafe_dagster.recipe.records import (
    FailureReason,
    FineTuneRow,
    Message,
    Prompt,
    Record,
    Role,
    Usage,
)


class AnswerScore(Record):
    """How probable a model finds an answer to a prompt."""

    tokens: int = Field(description="of the answer and what ends it")
    log_probability: float = Field(description="sum over the tokens, in nats")

    @property
    def loss(self) -> float:
        """Nats per token, as a trainer's loss on completions."""
        return -self.log_probability / self.tokens


class HeldOutScore(Record):
    """The score that one model gives one held-out row. A row of `held_out.parquet`."""

    candidate: str = Field(description="name of the model under test in the settings")
    model: str = Field(
        description="name given by its server; empty if it never answered"
    )
    kind: Literal["sft", "dpo"]
    prompt_id: str
    batch: str
    simulated: bool = Field(description="the row comes from the rehearsal engine")
    answer: AnswerScore | None = Field(
        description="of the assistant's turn; of the chosen one of a pair; null if there is none"
    )
    rejected: AnswerScore | None = Field(description="dpo: of the rejected turn")
    problem: str = Field(description="why there is no score, or empty")
    usage: Usage


def prompt_of(row: FineTuneRow) -> Prompt:
    """Return the prompt of a row, with its id and origin."""
    (*earlier, question) = question_of(row)
    origin = {name: getattr(row, name) for name in _ORIGIN}
    return Prompt(prompt=question.content, earlier=tuple(earlier), **origin)


_ORIGIN = (
    "prompt_id",
    "batch",
    "source",
    "source_row",
    "category",
    "licence",
    "own_id",
    "cluster",
    "derivation",
)


def score_row(
    conversation: Conversation, row: FineTuneRow, candidate: str
) -> Dialogue[HeldOutScore]:
    """Ask the model under test how probable it finds the answer, or both answers, of a row."""
    try:
        if row.kind == "sft":
            answer = (row.messages or ())[-1:]
            (score,) = yield from _score_answers(
                conversation, row, question_of(row), answer
            )
            return _record(conversation, row, candidate, score)
        answers = (*(row.chosen or ()), *(row.rejected or ()))
        chosen, rejected = yield from _score_answers(
            conversation, row, question_of(row), answers
        )
        return _record(conversation, row, candidate, chosen, rejected)
    except RowFailed as failure:
        return _record(conversation, row, candidate, problem=failure.detail)


def _score_answers(
    conversation: Conversation,
    row: FineTuneRow,
    prompt: tuple[Message, ...],
    answers: tuple[Message, ...],
) -> Dialogue[list[AnswerScore]]:
    # A prompt is the same token for token with and without an answer, so what is left of the whole
    # is the answer alone, whatever template and tokenizer the server has.
    before = yield from conversation.score(Role.CANDIDATE, prompt, row)
    scores = []
    for answer in answers:
        whole = yield from conversation.score(Role.CANDIDATE, (*prompt, answer), row)
        tokens = whole.tokens - before.tokens
        if tokens < 1:
            raise RowFailed(
                FailureReason.UNPARSABLE,
                "the chat template of the server renders no answer",
            )
        log_probability = whole.log_probability - before.log_probability
        scores.append(AnswerScore(tokens=tokens, log_probability=log_probability))
    return scores


def unscored(
    conversation: Conversation, row: FineTuneRow, candidate: str, problem: str
) -> HeldOutScore:
    """Return the record of a row that the engine could not score."""
    return _record(conversation, row, candidate, problem=problem)


def _record(
    conversation: Conversation,
    row: FineTuneRow,
    candidate: str,
    answer: AnswerScore | None = None,
    rejected: AnswerScore | None = None,
    problem: str = "",
) -> HeldOutScore:
    return HeldOutScore(
        candidate=candidate,
        model=conversation.models[0] if conversation.models else "",
        kind=row.kind,
        prompt_id=row.prompt_id,
        batch=row.batch,
        simulated=row.simulated,
        answer=answer,
        rejected=rejected,
        problem=problem,
        usage=conversation.usage,
    )
