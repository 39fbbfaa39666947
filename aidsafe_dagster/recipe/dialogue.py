"""A dialogue is a generator: it yields a `Request`, is sent the `Completion`, and returns a record.

It does no I/O, so its loop and its stopping rule read top to bottom and a test can drive it by hand:

    dialogue = deliberate(case, seed)
    request = next(dialogue)
    request = dialogue.send(completion)     # until StopIteration carries the record

`Conversation` is what a dialogue speaks through. It only ever appends: a later request begins with the whole of the
earlier one, and every request begins with the same system message, so a server's prefix cache serves most of it.
"""

import hashlib
import json
import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, Generic, TypeVar

from pydantic import Field

from aidsafe_dagster.recipe.answers import (
    A,
    Answer,
    AnswerBounds,
    AnswerFormat,
    NotAnAnswer,
    Schema,
)
from aidsafe_dagster.recipe.errors import RowFailed
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import (
    Failure,
    FailureReason,
    Message,
    Prompt,
    Record,
    Role,
    Usage,
)
from aidsafe_dagster.recipe.templates import Templates

T = TypeVar("T")
Dialogue = Generator["Request", "Completion", T]

MAX_REASKS = 2
_CANNOT = r"(can['\u2019]?t|cannot|can not|won['\u2019]?t|am unable|am not able|must decline)"
_REFUSAL = re.compile(
    rf"^\W*(i['\u2019]?m (very |really )?sorry|sorry|i {_CANNOT})"
    rf"|\bi {_CANNOT} (to )?(help|assist|engage|discuss|participate|deliberate|comply)",
    re.IGNORECASE,
)


class Sampling(Record):
    """Sampling parameters of a request; the paper does not publish its own."""

    temperature: float = Field(default=0.7, ge=0)
    top_p: float = Field(default=0.95, gt=0, le=1)
    max_tokens: int = Field(default=4096, ge=1)


@dataclass(frozen=True, slots=True)
class Request:
    """One call to a model. `inputs` are the typed values behind the messages: for the rehearsal engine and for logs."""

    prompt_id: str
    stage: str
    """A `Stage`, or `safety_eval`."""
    role: Role
    turn: int
    """0-based index of the call among those of this row at this stage."""
    messages: tuple[Message, ...]
    schema: dict[str, Any]
    sampling: Sampling
    seed: int
    draw: int
    """0, and one more for every run in which this call's answer failed the row."""
    inputs: Any = None
    labels: tuple[str, ...] = ()
    """When given, one of these words is the answer, and the completion's text is a JSON object: word → probability."""

    def key(self, model: str) -> str:
        """Names the completion in the journal: equal for requests that are the same question to the same model."""
        said = b", ".join(
            b'["%b", %b]' % (m.role.encode(), _quoted(m.content)) for m in self.messages
        )
        labels = b'"labels": %b, ' % json.dumps(self.labels).encode() if self.labels else b""
        text = (
            b'{"draw": %d, %b"messages": [%b], "model": %b, "sampling": %b, "schema": %b, "seed": %d}'
            % (
                self.draw,
                labels,
                said,
                _quoted(model),
                _canonical(self.sampling),
                self.schema.canonical if isinstance(self.schema, Schema) else _sorted(self.schema),
                self.seed,
            )
        )
        return hashlib.blake2b(text, digest_size=16).hexdigest()


class Completion(Record):
    """What a model answered."""

    text: str
    model: str
    usage: Usage


@dataclass(frozen=True)
class DialogueContext:
    """What every dialogue of a stage is told: policies, templates, how to sample, how to count tokens."""

    policies: Policies
    templates: Templates
    count_tokens: Callable[[str], int]
    tokens_counted_by: str = ""
    sampling: Sampling = Sampling()
    bounds: AnswerBounds = AnswerBounds()
    seed: int = 0
    engine: str = ""
    simulated: bool = False

    @cached_property
    def system(self) -> Message:
        """The system message of every agent: ground rules and policies."""
        return Message(role="system", content=self.templates.system(self.policies))

    @cached_property
    def target_system(self) -> Message:
        """The system message of the model under attack."""
        return Message(role="system", content=self.templates.target_system())

    def made(self, stage: str, conversation: "Conversation") -> dict[str, Any]:
        """The values of the `Made` columns for a row that this conversation produced."""
        return {
            "engine": self.engine,
            "model": ", ".join(dict.fromkeys(conversation.models)),
            "simulated": self.simulated,
            "policies_version": self.policies.version,
            "templates_version": self.templates.version(stage),
            "usage": conversation.usage,
            "redraws": conversation.redraws,
        }


@dataclass
class Conversation:
    """One row's exchange at one stage. Mutable: it is the dialogue's notebook, and the driver reads it on failure."""

    context: DialogueContext
    stage: str
    prompt: Prompt
    redraws: tuple[int, ...] = ()
    messages: tuple[Message, ...] = ()
    """Everything said so far, without the system message."""
    usage: Usage = Usage()
    models: list[str] = field(default_factory=list)
    turn: int = 0
    redraw_from: int = 0
    """The turn at which the latest task was first put: where a later run draws anew if the row fails."""
    role: Role | None = None

    def ask(
        self,
        role: Role,
        task: str,
        answer_format: AnswerFormat[A],
        inputs: object,
        temperature: float | None = None,
    ) -> Dialogue[A]:
        """Puts a task to a role and returns its validated answer, asking again at most twice.

        The failed tries stay out of the conversation, so no later turn sees them. `temperature` is that of the brief
        unless it is given.

        Raises:
            RowFailed: no valid answer, or a refusal to work on the prompt, on every try.
        """
        self.role, self.redraw_from = role, self.turn
        answer_format = replace(answer_format, bounds=self.context.bounds)
        asked = (*self.messages, Message(role="user", content=task))
        opening = self.context.target_system if role is Role.TARGET else self.context.system
        tries = asked
        for remaining in range(MAX_REASKS, -1, -1):
            request = self._request((opening, *tries), answer_format.schema, inputs, temperature)
            completion = yield request
            self._note(completion)
            said = Message(role="assistant", content=completion.text)
            try:
                answer = answer_format.parse(completion.text)
                if role is not Role.TARGET and is_refusal(answer):
                    raise Declined(
                        "the task was declined; judging a harmful request is part of the task"
                    )
            except NotAnAnswer as error:
                if not remaining:
                    raise _failed(completion.text, error) from error
                tries = (
                    *tries,
                    said,
                    Message(role="user", content=self.context.templates.reask(str(error))),
                )
            else:
                self.messages = (*asked, said)
                return answer
        raise AssertionError("unreachable")

    def classify(
        self, role: Role, question: str, labels: tuple[str, ...], inputs: object
    ) -> Dialogue[dict[str, float]]:
        """Puts a question to a classifier; returns the probability of each label it may answer with.

        It stands alone: nothing said before is shown, and it leaves no trace in the conversation.

        Raises:
            RowFailed: the answer is none of the labels.
        """
        self.role, self.redraw_from = role, self.turn
        request = replace(
            self._request((Message(role="user", content=question),), {}, inputs, 0.0),
            labels=labels,
        )
        completion = yield request
        self._note(completion)
        detail = f"not one of {', '.join(labels)}: {completion.text[:160]!r}"
        try:
            shares = {
                label: float(share)
                for label, share in json.loads(completion.text).items()
                if label in labels
            }
        except (ValueError, TypeError, AttributeError) as error:
            raise RowFailed(FailureReason.UNPARSABLE, detail) from error
        if not any(shares.values()):
            raise RowFailed(FailureReason.UNPARSABLE, detail)
        return shares

    def complete(
        self,
        role: Role,
        messages: tuple[Message, ...],
        schema: dict[str, Any],
        inputs: object,
        temperature: float | None = None,
    ) -> Dialogue[str]:
        """Puts messages to a model just as they are, once, and returns its text; no schema leaves the form to it.

        It stands alone, as `weigh` does.
        """
        self.role, self.redraw_from = role, self.turn
        completion = yield self._request(messages, schema, inputs, temperature)
        self._note(completion)
        return completion.text

    def _request(
        self,
        messages: tuple[Message, ...],
        schema: dict[str, Any],
        inputs: object,
        temperature: float | None,
    ) -> Request:
        assert self.role is not None
        draw = sum(1 for turn in self.redraws if turn <= self.turn)
        sampling = self.context.sampling
        if temperature is not None:
            sampling = sampling.model_copy(update={"temperature": temperature})
        return Request(
            prompt_id=self.prompt.prompt_id,
            stage=self.stage,
            role=self.role,
            turn=self.turn,
            messages=messages,
            schema=schema,
            sampling=sampling,
            seed=_seed(self.context.seed, self.prompt.prompt_id, self.stage, self._place(), draw),
            draw=draw,
            inputs=inputs,
        )

    def _place(self) -> object:
        """What parts this call's seed from those of other calls: its turn. A judge's questions differ in themselves,
        and one that was put before is to be found in the journal whenever it is put again."""
        return self.role if self.role in (Role.JUDGE, Role.SECOND_JUDGE) else self.turn

    def _note(self, completion: Completion) -> None:
        self.turn += 1
        self.usage += completion.usage
        self.models.append(completion.model)

    def failure(self, reason: FailureReason, detail: str, *, redraw: bool) -> Failure:
        """This row's failure at this stage; `redraw` when asking again as before would only fail again."""
        return Failure(
            prompt_id=self.prompt.prompt_id,
            batch=self.prompt.batch,
            stage=self.stage,
            reason=reason,
            detail=detail,
            role=self.role or "",
            turn=self.turn,
            redraws=(*self.redraws, self.redraw_from) if redraw else self.redraws,
            usage=self.usage,
        )


@dataclass
class DialogueTask(Generic[T]):
    """One row's dialogue, ready to be driven."""

    conversation: Conversation
    dialogue: Dialogue[T]
    extra_calls: int = 0
    """Calls that it takes beyond what others of its kind take, where that is known before: it may go first."""


def _failed(text: str, error: NotAnAnswer) -> RowFailed:
    plain = text.lstrip()[:1] not in ("{", "[", "`")
    refused = isinstance(error, Declined) or (plain and _REFUSAL.search(text[:300]))
    reason = FailureReason.REFUSED_TO_DELIBERATE if refused else FailureReason.UNPARSABLE
    return RowFailed(reason, f"{error}; the answer began: {text[:160]!r}")


class Declined(NotAnAnswer):
    """The answer has the right shape and declines the work."""


def is_refusal(answer: Answer) -> bool:
    """True when an answer keeps the shape and declines the work: every thought of it is an apology.

    A response that refuses the *user* is often right and never counts.
    """
    thoughts = [getattr(item, "thought", item) for item in getattr(answer, "thoughts", ())]
    return bool(thoughts) and all(_REFUSAL.match(str(thought)) for thought in thoughts)


@lru_cache(maxsize=256)
def _quoted(text: str) -> bytes:
    return json.dumps(text).encode()


@lru_cache(maxsize=64)
def _canonical(sampling: Sampling) -> bytes:
    return _sorted(sampling.model_dump())


def _sorted(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _seed(base: int, *parts: object) -> int:
    """A seed per row, stage, turn and draw; 31 bits, as servers take them."""
    text = "\0".join(map(str, (base, *parts)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest()) & 0x7FFFFFFF
