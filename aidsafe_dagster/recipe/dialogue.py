"""A dialogue is a generator: it yields a `Request`, is sent the `Completion`, and returns a record.

It does no I/O, so its loop and its stopping rule read from top to bottom, and a test can drive it
by hand:

    dialogue = deliberate(conversation, seed, settings)
    request = next(dialogue)
    request = dialogue.send(completion)     # until StopIteration carries the record

A dialogue talks to models through its `Conversation`, which only ever appends. All requests begin
with the same system message, and a later one with what the earlier ones of its row have in common
(`recipe.agent_context`), so a server's prefix cache serves most of the prompt.
"""

import hashlib
import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, Generic, TypeVar

from pydantic import Field

from aidsafe_dagster.recipe.answers import (
    A,
    AnswerBounds,
    AnswerFormat,
    NotAnAnswer,
    Parsed,
    Schema,
)
from aidsafe_dagster.recipe.bad_answers import AnswerCheck, BadText
from aidsafe_dagster.recipe.bad_text import BadTextSettings
from aidsafe_dagster.recipe.chat_tokens import without_chat_tokens
from aidsafe_dagster.recipe.errors import RowFailed
from aidsafe_dagster.recipe.foreign_text import storable
from aidsafe_dagster.recipe.hash_draw import hash_rank
from aidsafe_dagster.recipe.languages import LanguageOf, asked_text
from aidsafe_dagster.recipe.lenient_json import without_reasoning
from aidsafe_dagster.recipe.loops import loop
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import (
    Failure,
    FailureReason,
    Message,
    Prompt,
    Reasoning,
    Record,
    Role,
    Usage,
)
from aidsafe_dagster.recipe.refusals import declines_task, is_refusal_text
from aidsafe_dagster.recipe.templates import Templates

T = TypeVar("T")
Dialogue = Generator["Request", "Completion", T]

MAX_REASKS = 2
# Enough of an answer to recognise it in a failure's detail.
_EXCERPT_CHARS = 160
# Stands for an answer that is all reasoning: servers refuse an empty message.
_NOTHING_SAID = "(no answer)"
_DECLINED = "the task was declined; judging a harmful request is part of the task"
# Of an answer that was ended since it loops, what the model sees when it is asked again.
_MOST_LOOPING_CHARS = 300
_JUDGES = (Role.JUDGE, Role.SECOND_JUDGE)
# They see nothing but the question, so the same question has the same answer.
_ASKED_ONCE = (*_JUDGES, Role.GUARD)


class Sampling(Record):
    """Sampling parameters of a request. The paper does not publish its own.

    What is None is not sent.
    """

    temperature: float | None = Field(default=0.7, ge=0)
    top_p: float | None = Field(default=0.95, gt=0, le=1)
    max_tokens: int | None = Field(default=8192, ge=1)

    def at_temperature(self, temperature: float | None) -> "Sampling":
        """Return the parameters with another temperature, unless the server takes none."""
        if temperature is None or self.temperature is None:
            return self
        return self.model_copy(update={"temperature": temperature})


class SamplingTable(Sampling):
    """Sampling parameters of one server or role: a field that is left out is not sent."""

    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)


@dataclass(frozen=True, slots=True)
class Request:
    """One call to a model."""

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
    """0, plus one for every run in which the answer to this call failed the row."""
    inputs: Any = None
    """The typed values behind the messages, for the rehearsal engine and for logs."""
    labels: tuple[str, ...] = ()
    """If not empty, the completion's text is a JSON object from these labels to probabilities."""
    scores_prompt: bool = False
    """The completion's text is a JSON object with the number of `tokens` of the messages and their
    `log_probability`, in nats."""
    agent: str = ""
    """The agent that speaks, where several share a role: 'deliberator_2'."""
    end_loops: bool = False
    """An answer that loops may be ended before it is whole: it would be asked for again."""

    @property
    def speaker(self) -> str:
        """Who is asked: the name by which the settings choose a server and a model."""
        return self.agent or str(self.role)

    def key(self, model: str, options: str = "") -> str:
        """Return the journal key of the completion: equal requests to one model share a key.

        `options` are all other things that bear on the answer, as canonical JSON (`Route.options`).
        """
        # These bytes must never change, or journals of earlier runs no longer match. They are put
        # together from cached parts, since messages, schemas and sampling repeat between requests.
        messages = b", ".join(_message_json(message) for message in self.messages)
        labels = b""
        if self.labels:
            labels = b'"labels": %b, ' % json.dumps(self.labels).encode()
        if isinstance(self.schema, Schema):
            schema = self.schema.canonical
        else:
            schema = _canonical_json(self.schema)
        text = b"".join(
            (
                b'{"draw": %d, ' % self.draw,
                labels,
                b'"messages": [%b], ' % messages,
                b'"model": %b, ' % _text_json(model),
                # Left out where there are none, as in journals of earlier releases.
                b'"options": %b, ' % options.encode() if options else b"",
                b'"sampling": %b, ' % _sampling_json(self.sampling),
                b'"schema": %b, ' % schema,
                b'"scores_prompt": true, ' if self.scores_prompt else b"",
                b'"seed": %d}' % self.seed,
            )
        )
        return hashlib.blake2b(text, digest_size=16).hexdigest()


class Completion(Record):
    """A model's answer to a request."""

    text: str
    model: str
    usage: Usage
    reasoning: str = ""
    """What the model thought before it answered, where the server tells. That of a target is part
    of its answer, that of other roles is left out unless the settings keep it."""
    ended_early: str = ""
    """The loop for which the answer was ended before it was whole. Its tokens are then estimates,
    unless the server had counted them by then. Empty: the model ended it itself."""


class TextScore(Record):
    """How probable a model finds messages, as its chat template renders them."""

    tokens: int = Field(ge=1)
    log_probability: float
    """Sum over the tokens, in nats."""


@dataclass(frozen=True)
class DialogueContext:
    """What all dialogues of a stage share: policies, templates, sampling, token counter."""

    policies: Policies
    templates: Templates
    count_tokens: Callable[[str], int]
    tokens_counted_by: str = ""
    sampling: Sampling = Sampling()
    sampling_by_speaker: Mapping[str, Sampling] = field(default_factory=dict)
    """Of agents and roles whose server or role has sampling parameters of its own."""
    servers: Mapping[str, str] = field(default_factory=dict)
    """Who is asked → name of the server, with its profile."""
    bounds: AnswerBounds = AnswerBounds()
    bad_text: BadTextSettings = BadTextSettings()
    """Valid answers that are asked for again all the same."""
    language_of: LanguageOf | None = None
    """Tells the language of an answer; None where nobody looks at it."""
    seed: int = 0
    engine: str = ""
    simulated: bool = False
    generation: int = 1
    """In which turn of the loop rows are made."""
    adapters: Mapping[str, str] = field(default_factory=dict)
    """Role or agent that a trained adapter speaks for → its name and the hash of its weights."""
    second_policies: Policies | None = None
    """Those of policy counterfactuals; None where there are none."""

    @cached_property
    def under_second_policies(self) -> "DialogueContext":
        """The same with the second policies in place of the first.

        Raises:
            ValueError: there are none.
        """
        if self.second_policies is None:
            raise ValueError("there is no second set of policies")
        return replace(self, policies=self.second_policies, second_policies=None)

    @cached_property
    def system(self) -> Message:
        """The system message of every agent: ground rules and policies."""
        language = self.bad_text.language_name
        content = self.templates.system(self.policies, language)
        return Message(role="system", content=content)

    @cached_property
    def judge_system(self) -> Message:
        """The system message of every judge."""
        return Message(
            role="system", content=self.templates.judge_system(self.policies)
        )

    def target_system(self, belief: str) -> Message:
        """Return the system message of the model under attack, with a belief if it holds one."""
        content = self.templates.target_system(belief, self.bad_text.language_name)
        return Message(role="system", content=content)

    def system_for(self, role: Role) -> Message:
        """Return the system message that a role's requests begin with."""
        if role in _JUDGES:
            return self.judge_system
        return self.system

    def adapter_of(self, speaker: str) -> str:
        """Return the trained adapter that speaks for a role or an agent; empty: none does."""
        return self.adapters.get(speaker, "")

    def sampling_for(self, agent: str, role: Role) -> Sampling:
        """Return the sampling parameters of an agent: its own, its role's, or those of all."""
        by_role = self.sampling_by_speaker.get(role, self.sampling)
        return self.sampling_by_speaker.get(agent, by_role)


@dataclass
class Conversation:
    """One row's exchange with models at one stage. The driver reads it when the row fails."""

    context: DialogueContext
    stage: str
    prompt: Prompt
    redraws: tuple[int, ...] = ()
    messages: tuple[Message, ...] = ()
    """The exchange so far, without the system message."""
    usage: Usage = Usage()
    models: list[str] = field(default_factory=list)
    turn: int = 0
    redraw_from: int = 0
    """The call from which a later run draws anew if the row fails: the start of the latest task."""
    role: Role | None = None
    agent: str = ""
    """The speaker, where several share the role."""
    servers: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    reasoning: list[Reasoning] = field(default_factory=list)
    adapters: list[str] = field(default_factory=list)
    verdicts: dict[bytes, Completion] = field(default_factory=dict)
    """What judges and guard answered so far, by the hash of the question."""

    def ask(
        self,
        role: Role,
        task: str,
        answer_format: AnswerFormat[A],
        inputs: object,
        temperature: float | None = None,
        agent: str = "",
        check: Callable[[A], None] = lambda _: None,
    ) -> Dialogue[A]:
        """Put a task to a role and return its valid answer, asking again at most twice.

        Invalid answers stay out of the conversation, so no later turn sees them, and so do
        reasoning and prose around an answer. Without a `temperature`, that of the context applies.
        `agent` names the speaker where several share the role. Answers with worthless text count as
        invalid, and so do those for which `check` raises `BadText`.

        Raises:
            RowFailed: every attempt was invalid, or refused to work on the prompt.
        """
        self._begin_task(role, agent)
        answer_format = replace(answer_format, bounds=self.context.bounds)
        system = self.context.system_for(role)
        conversation = (*self.messages, Message(role="user", content=task))
        attempt = conversation
        end_loops = self._may_end_loops()
        for reasks_left in range(MAX_REASKS, -1, -1):
            request = self._request(
                (system, *attempt), answer_format.schema, inputs, temperature
            )
            completion = yield from self._put(replace(request, end_loops=end_loops))
            try:
                _require_whole(completion)
                parsed = _parse_answer(completion.text, answer_format)
                self._check(parsed.answer, answer_format.schema, check)
            except NotAnAnswer as error:
                answer_text = without_reasoning(completion.text)
                if not reasks_left:
                    raise _row_failure(completion.text, answer_text, error) from error
                # The invalid answer stays in view for this task, so the model can mend it.
                if completion.ended_early:
                    # A model goes on with the loop that it sees.
                    answer_text = answer_text[:_MOST_LOOPING_CHARS]
                reply = _reply(answer_text or _NOTHING_SAID)
                reask = self.context.templates.reask(str(error))
                attempt = (*attempt, reply, Message(role="user", content=reask))
            else:
                self._record_repairs(parsed.repairs)
                reply = _reply(parsed.text)
                self.messages = (*conversation, reply)
                return parsed.answer
        # The last pass returns or raises. mypy cannot see that.
        raise AssertionError("unreachable")

    def classify(
        self, role: Role, question: str, labels: tuple[str, ...], inputs: object
    ) -> Dialogue[dict[str, float]]:
        """Put a question to a classifier and return the probability of each label it gave.

        The question stands alone: the classifier sees nothing of the conversation, and the
        conversation keeps nothing of the question.

        Raises:
            RowFailed: the answer holds none of the labels.
        """
        self._begin_task(role)
        # A guard such as ShieldGemma takes a bare question, so no system message and no schema.
        message = Message(role="user", content=question)
        request = self._request((message,), {}, inputs, temperature=0.0)
        completion = yield from self._put(replace(request, labels=labels))
        probabilities = _parse_probabilities(completion.text, labels)
        if not any(probabilities.values()):
            listing = ", ".join(labels)
            excerpt = completion.text[:_EXCERPT_CHARS]
            raise RowFailed(
                FailureReason.UNPARSABLE, f"not one of {listing}: {excerpt!r}"
            )
        return probabilities

    def complete(
        self,
        role: Role,
        messages: tuple[Message, ...],
        schema: dict[str, Any],
        inputs: object,
        temperature: float | None = None,
    ) -> Dialogue[str]:
        """Send messages to a model as they are and return its text, without validation.

        An empty schema leaves the form of the answer to the model. Like `classify`, the call stands
        alone.
        """
        self._begin_task(role)
        request = self._request(messages, schema, inputs, temperature)
        completion = yield from self._put(request)
        return completion.text

    def ask_freely(
        self,
        role: Role,
        messages: tuple[Message, ...],
        inputs_of_attempt: Callable[[int], object],
        read: Callable[[Completion], T],
    ) -> Dialogue[T]:
        """Ask a model that answers in its own way, and return what `read` makes of the answer.

        What `read` cannot use is drawn again at most twice, from the same messages: a word about
        the form would be talked about in the answer. Like `classify`, the call stands alone.

        Raises:
            RowFailed: no draw could be used.
        """
        self._begin_task(role)
        end_loops = self._may_end_loops()
        for attempt in range(MAX_REASKS + 1):
            inputs = inputs_of_attempt(attempt)
            request = self._request(messages, {}, inputs, temperature=None)
            completion = yield from self._put(replace(request, end_loops=end_loops))
            try:
                _require_whole(completion)
                return read(completion)
            except NotAnAnswer as error:
                if attempt == MAX_REASKS:
                    raise _row_failure(completion.text, "", error) from error
        # The last pass returns or raises. mypy cannot see that.
        raise AssertionError("unreachable")

    def score(
        self, role: Role, messages: tuple[Message, ...], inputs: object
    ) -> Dialogue["TextScore"]:
        """Ask how probable a model finds messages. Nothing of it stays in the conversation.

        Raises:
            RowFailed: the answer is no score.
        """
        self._begin_task(role)
        request = self._request(messages, {}, inputs, temperature=0.0)
        completion = yield from self._put(replace(request, scores_prompt=True))
        try:
            return TextScore.model_validate_json(completion.text)
        except ValueError as error:
            excerpt = completion.text[:_EXCERPT_CHARS]
            raise RowFailed(
                FailureReason.UNPARSABLE, f"not a score: {excerpt!r}"
            ) from error

    def provenance(self) -> dict[str, Any]:
        """Return the values of the `Provenance` columns for a row made in this conversation."""
        return {
            "engine": self.context.engine,
            # A dict keeps the order of first use, which a set would lose.
            "model": ", ".join(dict.fromkeys(self.models)),
            # What a model says to a made-up prompt is made up in part.
            "simulated": self.context.simulated or self.prompt.is_made_up,
            "policies_version": self.context.policies.version,
            "templates_version": self.context.templates.version(self.stage),
            "usage": self.usage,
            "redraws": self.redraws,
            "servers": tuple(dict.fromkeys(self.servers)),
            "repaired": tuple(self.repaired),
            "reasoning": tuple(self.reasoning),
            "generation": self.context.generation,
            "adapters": tuple(dict.fromkeys(self.adapters)),
        }

    def failure(self, reason: FailureReason, detail: str, *, redraw: bool) -> Failure:
        """Return this row's failure at this stage.

        `redraw` says that the same answers would only fail again, so the next run draws new ones.
        """
        redraws = self.redraws
        if redraw:
            redraws = (*redraws, self.redraw_from)
        return Failure(
            prompt_id=self.prompt.prompt_id,
            batch=self.prompt.batch,
            stage=self.stage,
            reason=reason,
            # It quotes servers and models, and a row must never keep its batch from being stored.
            detail=storable(detail),
            role=self.role or "",
            turn=self.turn,
            redraws=redraws,
            usage=self.usage,
        )

    @property
    def speaker(self) -> str:
        """Who is asked at present."""
        return self.agent or str(self.role)

    def _begin_task(self, role: Role, agent: str = "") -> None:
        self.role = role
        self.agent = agent
        # A row that fails in this task draws anew from here, and earlier answers are replayed.
        self.redraw_from = self.turn

    def _may_end_loops(self) -> bool:
        """Tell whether an answer that loops is a bad answer. A prompt that loops is quoted."""
        if not self.context.bad_text.reject_loops:
            return False
        return loop(self.prompt.whole, "") is None

    def _check(
        self, answer: A, schema: Mapping[str, Any], check: Callable[[A], None]
    ) -> None:
        assert self.role is not None
        answer_check = AnswerCheck(
            self.context.bad_text,
            self.role,
            self.prompt.whole,
            self.context.policies.ids,
            self.context.templates.wording,
            self.context.policies.wording,
            self.context.language_of,
            asked_text(self.prompt),
        )
        answer_check.check(answer, schema)
        check(answer)

    def _request(
        self,
        messages: tuple[Message, ...],
        schema: dict[str, Any],
        inputs: object,
        temperature: float | None,
    ) -> Request:
        assert self.role is not None
        sampling = self.context.sampling_for(self.agent, self.role)
        # Calls before a redrawn one keep their draw, so the journal still answers them.
        draw = sum(1 for turn in self.redraws if turn <= self.turn)
        # Questions to a judge differ in their text, so their seeds may be equal. Without the turn
        # in the seed, the journal answers a repeated question wherever it comes in the dialogue.
        position: object = self.role if self.role in _JUDGES else self.turn
        seed = derive_seed(
            self.context.seed,
            self.prompt.prompt_id,
            self.stage,
            position,
            draw,
        )
        return Request(
            prompt_id=self.prompt.prompt_id,
            stage=self.stage,
            role=self.role,
            turn=self.turn,
            messages=messages,
            schema=schema,
            sampling=sampling.at_temperature(temperature),
            seed=seed,
            draw=draw,
            inputs=inputs,
            agent=self.agent,
        )

    def _put(self, request: Request) -> Dialogue[Completion]:
        """Yield a request, and record the call. A judge's earlier answer serves an equal question.

        Versions of a CoT, or candidates, may be word for word the same. The first that is judged
        pays for the call. For the others it is a turn without usage, so that seeds and draws of
        later calls do not depend on it.
        """
        if request.role not in _ASKED_ONCE:
            completion = yield request
            self._record_call(completion)
            return completion
        question = _question_hash(request)
        verdict = self.verdicts.get(question)
        if verdict is not None:
            self._record_call(verdict.model_copy(update={"usage": Usage()}))
            return verdict
        completion = yield request
        self._record_call(completion)
        self.verdicts[question] = completion
        return completion

    def _record_repairs(self, repairs: tuple[str, ...]) -> None:
        if repairs:
            # The call is already counted.
            listing = ", ".join(repairs)
            self.repaired.append(f"{self.speaker} {self.turn - 1}: {listing}")

    def _record_call(self, completion: Completion) -> None:
        # Invalid answers count too: they were paid for, and the next call needs a seed of its own.
        # The reasoning of a target is part of its answer, and kept with it.
        if completion.reasoning and self.role is not Role.TARGET:
            thoughts = Reasoning(
                turn=self.turn, speaker=self.speaker, text=completion.reasoning
            )
            self.reasoning.append(thoughts)
        servers = self.context.servers
        server = servers.get(self.speaker, servers.get(str(self.role), ""))
        if server:
            self.servers.append(server)
        adapter = self.context.adapter_of(self.speaker)
        if adapter:
            self.adapters.append(f"{self.speaker}: {adapter}")
        self.turn += 1
        self.usage += completion.usage
        self.models.append(completion.model)


@dataclass
class DialogueTask(Generic[T]):
    """One row's dialogue, ready for the driver."""

    conversation: Conversation
    dialogue: Dialogue[T]
    extra_calls: int = 0
    """Calls beyond those of other rows, if known in advance. The longest rows may start first."""


class Declined(NotAnAnswer):
    """The answer declines the work, in the right shape or in any other."""


def derive_seed(base: int, *parts: object) -> int:
    """Return a sampling seed that follows from the base seed and the parts."""
    # Model servers take seeds of 31 bits.
    return hash_rank(base, *parts, separator="\0", digest_size=4) & 0x7FFFFFFF


def _question_hash(request: Request) -> bytes:
    """Return what tells a question to a judge from the others of its row."""
    digest = hashlib.blake2b(request.speaker.encode(), digest_size=16)
    # One row asks each judge at one temperature, and for forms that follow from the question.
    for message in request.messages:
        digest.update(_message_json(message))
    return digest.digest()


def _parse_answer(text: str, answer_format: AnswerFormat[A]) -> Parsed[A]:
    try:
        parsed = answer_format.parse(text)
    except NotAnAnswer as error:
        if is_refusal_text(without_reasoning(text)):
            raise Declined(f"{error}; {_DECLINED}") from error
        raise
    if declines_task(parsed.answer):
        raise Declined(_DECLINED)
    return parsed


def _require_whole(completion: Completion) -> None:
    """Raise BadText if an answer was ended since it loops."""
    if completion.ended_early:
        raise BadText(f"it was ended, because it {completion.ended_early}")


def _parse_probabilities(text: str, labels: tuple[str, ...]) -> dict[str, float]:
    """Return the probability of each label in a classifier's answer; empty if it is not valid."""
    probabilities = {}
    # The text may be any JSON at all: a list has no items, and null is no number.
    try:
        for label, probability in json.loads(text).items():
            if label in labels:
                probabilities[label] = float(probability)
    except (ValueError, TypeError, AttributeError):
        return {}
    return probabilities


def _row_failure(text: str, answer_text: str, error: NotAnAnswer) -> RowFailed:
    """Return the failure of an answer; `answer_text` is its text without the reasoning."""
    excerpt = (answer_text or text)[:_EXCERPT_CHARS]
    detail = f"{error}; the answer began: {excerpt!r}"
    # The target's refusal is no result without the shape that was asked for.
    if isinstance(error, Declined) or is_refusal_text(answer_text):
        return RowFailed(FailureReason.REFUSED_TO_DELIBERATE, detail)
    if isinstance(error, BadText):
        return RowFailed(error.reason, detail)
    return RowFailed(FailureReason.UNPARSABLE, detail)


def _reply(text: str) -> Message:
    """Return an answer as a turn of the conversation, with no way to begin another."""
    return Message(role="assistant", content=without_chat_tokens(text))


def _message_json(message: Message) -> bytes:
    # Equal to `json.dumps([role, content])`, with the long part from the cache.
    return b'["%b", %b]' % (message.role.encode(), _text_json(message.content))


# The system message and the turns of open conversations repeat from request to request.
@lru_cache(maxsize=256)
def _text_json(text: str) -> bytes:
    return json.dumps(text).encode()


@lru_cache(maxsize=64)
def _sampling_json(sampling: Sampling) -> bytes:
    return _canonical_json(sampling.model_dump(exclude_none=True))


def _canonical_json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
