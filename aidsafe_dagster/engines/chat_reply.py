"""The completion in a reply of a chat server, or why there is none.

A reply is not trusted to have any form. Whatever JSON a server sends gives a completion, a retry, a
rejected request or an error of the set-up, and never an exception of another kind.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aidsafe_dagster.engines.chat_message import Spoken, last_object, spoken
from aidsafe_dagster.engines.chat_request import prompt_estimate
from aidsafe_dagster.engines.chat_stream import ChatStream
from aidsafe_dagster.engines.log_probabilities import label_text, score_text
from aidsafe_dagster.engines.protocol import RequestRejected, RetryableError
from aidsafe_dagster.engines.settings import ServerSettings
from aidsafe_dagster.engines.usage_counts import usage_of
from aidsafe_dagster.recipe.dialogue import Completion, Request
from aidsafe_dagster.recipe.foreign_text import storable
from aidsafe_dagster.recipe.loop_watch import LoopWatch
from aidsafe_dagster.recipe.records import FailureReason, Role, Usage

_MAX_CUT_ANSWERS = 3
"""After this many answers cut at max_tokens, a further attempt only costs tokens."""
_MAX_MODEL_NAME = 200
_MAX_WORDS = 300
_CUT = {
    "length",
    "max_tokens",
    "max_output_tokens",
    "max_completion_tokens",
    "model_length",
    "token_limit",
}
_CONTEXT_FULL = {"model_context_window_exceeded", "context_length_exceeded"}
_FILTERED = {
    "content_filter",
    "content_filtered",
    "safety",
    "sensitive",
    "recitation",
    "blocklist",
    "prohibited_content",
    "spii",
    "guardrail_intervened",
    "moderation",
}
_REPETITION = {"repetition", "repetition_detected"}
"""vLLM's, where the request has it look for repetitions."""
_FAILED = {"error", "abort", "aborted", "cancelled", "insufficient_system_resource"}
_MAY_REFUSE = (Role.TARGET, Role.CANDIDATE, Role.GUARD)
"""Roles whose refusal is an answer: the target and the candidate answer a user, and the guard is
asked about a refusal as about any other answer."""


class NoLoop(Exception):
    """The server ended an answer for a loop that is none. `usage` is what it used."""

    def __init__(self, usage: Usage) -> None:
        super().__init__()
        self.usage = usage


@dataclass(frozen=True)
class _Reply:
    """A choice of a reply with what bears on its meaning."""

    choice: Mapping[str, Any]
    spoken: Spoken
    ending: str
    """The finish reason in small letters."""
    usage: Usage


def parse_body(body: bytes) -> Any:
    """Return the JSON of a body, or its text if it is none. Streamed parts are put together."""
    try:
        # A byte order mark is no part of JSON, but some servers send one.
        return json.loads(body.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError):
        pass
    # Some gateways stream whether they are asked to or not.
    stream = ChatStream()
    stream.feed(body)
    return stream.reply() or body.decode("utf-8", "replace")


def completion_of(
    reply: Any, request: Request, attempt: int, settings: ServerSettings
) -> Completion:
    """Return the completion in a reply.

    Args:
        reply: parsed, and no error.
        request: what was asked.
        attempt: 0, 1, …
        settings: of the speaker.

    Raises:
        RetryableError: it is no chat completion, or the answer is empty or cut.
        RequestRejected: no further attempt is worth its tokens: moderated, refused, cut within the
            reasoning, or cut too often.
        NoLoop: the server ended the answer for a loop that is none.
    """
    if request.scores_prompt:
        return _score_of(reply, settings)
    parts = _read(reply, request)
    if parts.ending in _REPETITION:
        return _ended_by_server(parts, reply, request, settings)
    _check_ending(parts, request)
    text = _answer(parts, request)
    # An answer of one token always ends at its limit.
    is_label = request.labels and text and not parts.spoken.is_open
    # What a model under test says up to its limit is its answer, and nobody asks it again.
    is_tested = request.role is Role.CANDIDATE and text.strip()
    if parts.ending in _CUT and not is_label and not is_tested:
        raise _cut_error(parts, text, attempt, request, settings)
    is_target = request.role is Role.TARGET
    # Thoughts without an answer are for the recipe to judge, like all that a target says.
    if not text.strip() and not (is_target and parts.spoken.reasoning):
        raise RetryableError(_empty_detail(parts))
    reasoning = ""
    # Without an answer beside it, the reasoning was the answer.
    is_kept = settings.reasoning == "keep" and parts.spoken.text.strip()
    if is_kept or is_target:
        reasoning = parts.spoken.reasoning
    return Completion(
        text=storable(text),
        model=_model_name(reply, settings),
        usage=parts.usage,
        reasoning=storable(reasoning),
    )


def ended_completion(
    stream: ChatStream, request: Request, settings: ServerSettings, loop: str
) -> Completion:
    """Return the completion in a stream that was ended for a loop.

    A server seldom says what it used before the end: then its tokens are estimates.
    """
    reply = stream.reply() or {}
    parts = _read(reply, request)
    usage = parts.usage
    if not stream.counts_tokens:
        usage = Usage(
            calls=1,
            prompt_tokens=prompt_estimate(request),
            completion_tokens=stream.events,
        )
    return _ended(parts, reply, settings, loop, usage)


def _ended_by_server(
    parts: _Reply, reply: Any, request: Request, settings: ServerSettings
) -> Completion:
    # The server counts tokens, and lines of a table repeat them as well as a loop does.
    for text, is_json in ((parts.spoken.text, True), (parts.spoken.reasoning, False)):
        watch = LoopWatch(is_json=is_json and bool(request.schema))
        watch.feed(text)
        loop = watch.look()
        if loop is not None:
            return _ended(parts, reply, settings, loop, parts.usage)
    raise NoLoop(parts.usage)


def _ended(
    parts: _Reply, reply: Any, settings: ServerSettings, loop: str, usage: Usage
) -> Completion:
    text = parts.spoken.text or parts.spoken.reasoning
    reasoning = parts.spoken.reasoning if settings.reasoning == "keep" else ""
    return Completion(
        text=storable(text),
        model=_model_name(reply, settings),
        usage=usage,
        reasoning=storable(reasoning) if parts.spoken.text else "",
        ended_early=storable(loop),
    )


def _score_of(reply: Any, settings: ServerSettings) -> Completion:
    """Return the score of the messages. What was generated after them is of no interest."""
    _first_choice(reply)
    text = score_text(reply)
    if text is None:
        raise RequestRejected(
            "the server does not tell the log-probabilities of a prompt (prompt_logprobs); "
            "vLLM does"
        )
    usage = usage_of(reply, 0.0)
    return Completion(text=text, model=_model_name(reply, settings), usage=usage)


def _read(reply: Any, request: Request) -> _Reply:
    choice = _first_choice(reply)
    # How a candidate writes its reasoning is part of what is evaluated.
    parts = spoken(choice, keep_blocks=request.role is Role.CANDIDATE)
    share = 0.0
    if parts.reasoning and parts.text.strip():
        share = len(parts.reasoning) / (len(parts.reasoning) + len(parts.text))
    return _Reply(choice, parts, _ending(choice), usage_of(reply, share))


def _first_choice(reply: Any) -> Mapping[str, Any]:
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(choices, list):
        raise RetryableError("the reply is not a chat completion: it has no choices")
    mappings = [choice for choice in choices if isinstance(choice, dict)]
    if not mappings:
        raise RetryableError(
            "the reply is not a chat completion: its choices are empty"
        )
    return mappings[0]


def _ending(choice: Mapping[str, Any]) -> str:
    for field in ("finish_reason", "stop_reason", "done_reason"):
        reason = choice.get(field)
        # vLLM's stop_reason is the number of a token.
        if isinstance(reason, str) and reason:
            return reason.lower()
    return ""


def _check_ending(reply: _Reply, request: Request) -> None:
    """Raise what a reply means whose ending says that its answer is none."""
    if reply.ending in _FILTERED:
        raise RequestRejected(
            f"the server's content filter stopped the answer (finish_reason: {reply.ending})",
            FailureReason.MODERATED,
        )
    if reply.ending in _CONTEXT_FULL:
        raise RequestRejected(
            f"prompt and answer filled the model's context (finish_reason: {reply.ending})",
            FailureReason.CONTEXT_OVERFLOW,
        )
    if reply.ending in _FAILED:
        raise RetryableError(f"the server broke off (finish_reason: {reply.ending})")
    is_refusal = reply.ending == "refusal"
    is_refusal = is_refusal or bool(reply.spoken.refusal and not reply.spoken.text)
    if is_refusal and request.role not in _MAY_REFUSE:
        words = reply.spoken.refusal or reply.spoken.text or "no words"
        raise RequestRejected(
            f"the model refused the task: {storable(words)[:_MAX_WORDS]}",
            FailureReason.REFUSED_TO_DELIBERATE,
        )


def _answer(reply: _Reply, request: Request) -> str:
    parts = reply.spoken
    if request.labels:
        labels = label_text(reply.choice, request.labels, parts.text)
        if labels is not None:
            return labels
    text = parts.text or parts.refusal
    if not text.strip() and request.schema and reply.ending not in _CUT:
        text = _object_in_reasoning(parts.reasoning, request)
    return text


def _object_in_reasoning(reasoning: str, request: Request) -> str:
    """Return the answer of a server that takes all of it for reasoning. Empty if there is none."""
    required = request.schema.get("required")
    names = tuple(required) if isinstance(required, list | tuple) else ()
    return last_object(reasoning, names) or last_object(reasoning)


def _cut_error(
    reply: _Reply,
    text: str,
    attempt: int,
    request: Request,
    settings: ServerSettings,
) -> Exception:
    """Return what an answer that reached the token limit means."""
    parts = reply.spoken
    tokens = reply.usage.completion_tokens
    has_reasoning = parts.reasoning or reply.usage.reasoning_tokens
    is_in_reasoning = parts.is_open or (has_reasoning and not text.strip())
    # Templates that open the block themselves leave no tag: an answer in JSON has not begun.
    if request.schema and request.role is not Role.CANDIDATE and parts.is_prose:
        is_in_reasoning = is_in_reasoning or bool(text.strip())
    if is_in_reasoning:
        count = f" ({tokens:,} tokens)" if tokens else ""
        limit = _limit_words(settings, request)
        return RequestRejected(
            f"the reasoning{count} reached the limit{limit} before an answer began; "
            'set a larger reasoning_budget or sampling.max_tokens, or reasoning = "off"',
            FailureReason.CUT_IN_REASONING,
        )
    detail = (
        f"the answer was cut after {len(text)} characters "
        f"(finish_reason: {reply.ending})"
    )
    if attempt + 1 >= _MAX_CUT_ANSWERS:
        return RequestRejected(detail)
    return RetryableError(detail)


def _limit_words(settings: ServerSettings, request: Request) -> str:
    limit = request.sampling.max_tokens
    if limit is None:
        return ""
    if settings.reasoning != "off" and settings.reasoning_budget:
        limit += settings.reasoning_budget
    return f" of {limit:,}"


def _empty_detail(reply: _Reply) -> str:
    detail = "the answer is empty"
    if reply.spoken.reasoning:
        return (
            f"{detail}, after {len(reply.spoken.reasoning):,} characters of reasoning"
        )
    if reply.ending not in ("", "stop"):
        return f"{detail} (finish_reason: {reply.ending[:_MAX_WORDS]})"
    return detail


def _model_name(reply: Mapping[str, Any], settings: ServerSettings) -> str:
    name = reply.get("model")
    if isinstance(name, str) and name.strip():
        return storable(name)[:_MAX_MODEL_NAME]
    return settings.model
