"""The body of a chat request, in the dialect that a server's settings describe.

The standard fields come first, then what the server refuses or calls by another name, then what
switches its reasoning, and last what the settings add by themselves (`extra_body`). An answer is
checked against the whole schema by us, whatever part of it the server was shown.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from aidsafe_dagster.engines.body_fields import merged, put, take
from aidsafe_dagster.engines.log_probabilities import ONE_TOKEN, SCORED
from aidsafe_dagster.engines.loop_ending import Way, fields_of
from aidsafe_dagster.engines.protocol import RequestRejected
from aidsafe_dagster.engines.settings import ServerSettings
from aidsafe_dagster.recipe.answers import Schema
from aidsafe_dagster.recipe.dialogue import Request
from aidsafe_dagster.recipe.records import FailureReason, Message

_MAX_SEED = 0x7FFFFFFF
"""31 bits, as all servers take them."""
_ASCII_PER_TOKEN = 4
_OTHER_BYTES_PER_TOKEN = 2
"""Rather few, so that a prompt is taken for a little longer than it is: 4.2 bytes of our prompts
are a token of a small vocabulary, and 3 bytes of Chinese are one of a large one."""
_MARGIN_TOKENS = 64
"""For what a chat template puts around the messages."""
_MIN_ANSWER_TOKENS = 256
_JSON_OBJECT = {"type": "json_object"}
_NAMES = frozenset({"properties", "$defs", "definitions", "patternProperties"})
"""Parts of a schema whose keys are names and not keywords."""


class ChatRequest:
    """Makes the bodies for one speaker. What does not change is worked out once."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self._schema_omit = frozenset(settings.schema_omit)
        self._omit = [name.split(".") for name in settings.omit]
        self._rename = [
            (name.split("."), other.split("."))
            for name, other in settings.rename.items()
        ]
        self._last = _last_fields(settings)
        self._budget = 0
        if settings.reasoning != "off":
            self._budget = settings.reasoning_budget or 0

    def body(
        self, request: Request, attempt: int, end_loops: Way = "off"
    ) -> dict[str, Any]:
        """Return the body of an attempt.

        Args:
            request: what is asked.
            attempt: 0, 1, …
            end_loops: how an answer that loops is ended.

        Raises:
            RequestRejected: the context leaves no room for an answer.
        """
        settings = self.settings
        body: dict[str, Any] = {
            "model": settings.model,
            "messages": _messages(request.messages, settings.system),
            # With the same seed, an answer that was cut would be cut at the same place again.
            "seed": (request.seed + attempt) & _MAX_SEED,
            **request.sampling.model_dump(exclude_none=True),
            **fields_of(end_loops),
        }
        if request.schema:
            body |= self._output(request)
        if request.labels:
            body |= ONE_TOKEN
        if request.scores_prompt:
            # The answer that is scored ends the conversation. A prompt without it is scored up to
            # where the answer would begin, so that the difference is the answer alone.
            is_answered = request.messages[-1].role == "assistant"
            body |= SCORED
            body["add_generation_prompt"] = not is_answered
        if settings.priority:
            # vLLM serves the smallest number first, so later turns of a dialogue come first.
            body["priority"] = -request.turn
        self._limit_tokens(body, request)
        for path in self._omit:
            take(body, path)
        for path, other in self._rename:
            if (value := take(body, path)) is not None:
                put(body, other, value)
        if request.messages and request.messages[-1].role == "assistant":
            body = merged(body, settings.continuation)
        return merged(body, self._last) if self._last else body

    def _output(self, request: Request) -> dict[str, Any]:
        """Return the field that asks for the form of the answer."""
        if self.settings.output == "text":
            return {}
        if self.settings.output == "json":
            return {"response_format": _JSON_OBJECT}
        schema = request.schema
        if self._schema_omit:
            schema = _without_keywords(_canonical(schema), self._schema_omit)
        named = {"name": str(request.role), "schema": schema, "strict": True}
        return {"response_format": {"type": "json_schema", "json_schema": named}}

    def _limit_tokens(self, body: dict[str, Any], request: Request) -> None:
        """Leave room for reasoning, and ask for no more tokens than the context holds."""
        limit = body.get("max_tokens")
        if limit is not None and self._budget:
            limit += self._budget
        context = self.settings.context_length
        if context is not None:
            limit = _limit_within(context, limit, request)
        if limit is not None:
            body["max_tokens"] = limit


def prompt_estimate(request: Request) -> int:
    """Return about how many tokens a prompt has, rather too many than too few."""
    ascii_bytes = other_bytes = 0
    for message in request.messages:
        size = len(message.content.encode("utf-8", "surrogatepass"))
        plain = len(message.content.encode("ascii", "ignore"))
        ascii_bytes += plain
        other_bytes += size - plain
    tokens = ascii_bytes / _ASCII_PER_TOKEN + other_bytes / _OTHER_BYTES_PER_TOKEN
    return int(tokens) + _MARGIN_TOKENS


def _limit_within(context: int, limit: int | None, request: Request) -> int | None:
    estimate = prompt_estimate(request)
    room = context - estimate
    needed = _MIN_ANSWER_TOKENS if limit is None else min(limit, _MIN_ANSWER_TOKENS)
    if room < needed:
        raise RequestRejected(
            f"the prompt has about {estimate:,} tokens, and with {needed:,} for the answer it "
            f"exceeds the context of {context:,} (context_length); the server was not asked",
            FailureReason.CONTEXT_OVERFLOW,
        )
    return None if limit is None else min(limit, room)


def _last_fields(settings: ServerSettings) -> dict[str, Any]:
    """Return the fields that stand whatever the standard ones are."""
    fields = merged({}, settings.reasoning_fields)
    budget, path = settings.reasoning_budget, settings.reasoning_budget_field
    if budget and path and settings.reasoning != "off":
        put(fields, path.split("."), budget)
    return merged(fields, settings.extra_body)


def _messages(messages: tuple[Message, ...], system: str) -> list[dict[str, str]]:
    listed = [
        {"role": message.role, "content": message.content} for message in messages
    ]
    if system == "own" or not listed or listed[0]["role"] != "system":
        return listed
    words = listed[0]["content"]
    rest = listed[1:]
    if rest and rest[0]["role"] == "user":
        words = f"{words}\n\n{rest[0]['content']}"
        rest = rest[1:]
    return [{"role": "user", "content": words}, *rest]


def _canonical(schema: Mapping[str, Any]) -> bytes:
    if isinstance(schema, Schema):
        return schema.canonical
    return json.dumps(schema, sort_keys=True).encode()


# One entry per schema that is in use at a time.
@lru_cache(maxsize=512)
def _without_keywords(canonical: bytes, keywords: frozenset[str]) -> dict[str, Any]:
    """Return a schema without some keywords, at every level."""
    stripped: dict[str, Any] = _strip(json.loads(canonical), keywords)
    return stripped


def _strip(schema: Any, keywords: frozenset[str]) -> Any:
    if isinstance(schema, list):
        return [_strip(item, keywords) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {}
    for key, value in schema.items():
        if key in keywords:
            continue
        if key in _NAMES and isinstance(value, dict):
            parts = {name: _strip(part, keywords) for name, part in value.items()}
            kept[key] = parts
        else:
            kept[key] = _strip(value, keywords)
    return kept
