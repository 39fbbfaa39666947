"""A chat completion that comes as a stream of events, put together into one reply.

What is put together has the form of a reply that came whole, so everything after it (`chat_reply`,
`reply_errors`) is the same for both. On the way, the answer is watched for loops.
"""

import json
from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json

from aidsafe_dagster.engines.chat_message import REASONING_FIELDS, thoughts_in
from aidsafe_dagster.recipe.loop_watch import LoopWatch

_BATCH_BYTES = 4096
"""Events are read some at a time, about twenty: one by one costs twice the CPU."""
_DATA = b"data:"
_ENDINGS = ("finish_reason", "stop_reason", "done_reason")
# Some models think in circles for a while and then find out.
_REASONING_PATIENCE = 2


class ChatStream:
    """Puts a stream together as it arrives.

    Args:
        ends_loops: watch the answer for loops.
        is_json: the answer is to be JSON.
    """

    def __init__(self, *, ends_loops: bool = False, is_json: bool = False) -> None:
        self.events = 0
        """Pieces of answer or reasoning. Nearly every server sends one a token."""
        self._bytes = b""
        self._answer = _Watched(LoopWatch(is_json=is_json) if ends_loops else None)
        self._reasoning = _Watched(
            LoopWatch(is_json=False, patience=_REASONING_PATIENCE)
            if ends_loops
            else None
        )
        self._parts: list[Any] = []
        self._refusals: list[str] = []
        self._arguments: list[str] = []
        self._log_probabilities: list[Any] = []
        self._ending = ""
        self._fields: dict[str, Any] = {}
        self._error: dict[str, Any] | None = None

    def feed(self, data: bytes) -> str | None:
        """Take what has arrived; describe the loop that the answer is in, None if it is in none."""
        self._bytes += data
        if len(self._bytes) < _BATCH_BYTES:
            return None
        return self._read()

    def reply(self) -> dict[str, Any] | None:
        """Return the reply that the stream makes up. None: it is no such stream.

        A stream without a finish reason was cut.
        """
        self._bytes += b"\n"
        self._read()
        if self._error is not None:
            return self._error
        if not self._fields and not self.events and not self._ending:
            return None
        choice: dict[str, Any] = {
            "message": self._message(),
            "finish_reason": self._ending or "aborted",
        }
        if self._log_probabilities:
            choice["logprobs"] = {"content": self._log_probabilities}
        return {**self._fields, "choices": [choice]}

    @property
    def counts_tokens(self) -> bool:
        """The server has said how many tokens it used."""
        return "usage" in self._fields

    def _read(self) -> str | None:
        """Read all events that are complete."""
        lines = self._bytes.splitlines(keepends=True)
        # A line end may itself be cut between its two bytes.
        self._bytes = b""
        if lines and not lines[-1].endswith(b"\n"):
            self._bytes = lines.pop()
        found = None
        for line in lines:
            if line.startswith(_DATA):
                found = self._take(line[len(_DATA) :]) or found
        return found

    def _take(self, data: bytes) -> str | None:
        event = _parsed(data)
        if event is None or self._error is not None:
            return None
        choices = event.get("choices")
        if event.get("error") or (not choices and _is_error(event)):
            self._error = event
            return None
        # `model` in every event, `usage` in the last, or in all of them so far.
        for field in ("model", "usage"):
            if event.get(field):
                self._fields[field] = event[field]
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict) or choice.get("index"):
            return None
        return self._take_choice(choice)

    def _take_choice(self, choice: Mapping[str, Any]) -> str | None:
        if choice.get("error"):
            self._error = {"error": choice["error"]}
            return None
        for name in _ENDINGS:
            if isinstance(choice.get(name), str) and choice[name]:
                self._ending = choice[name]
                break
        probabilities = choice.get("logprobs")
        if isinstance(probabilities, dict):
            self._log_probabilities += probabilities.get("content") or []
        delta = choice.get("delta")
        if delta is None and not self.events:
            # A whole message, or a completion without chat.
            delta = choice.get("message") or {"content": choice.get("text")}
        return self._take_delta(delta) if isinstance(delta, dict) else None

    def _take_delta(self, delta: Mapping[str, Any]) -> str | None:
        found = None
        content = delta.get("content")
        if isinstance(content, str) and content:
            self.events += 1
            found = self._answer.add(content)
        elif isinstance(content, list | dict) and content:
            self.events += 1
            self._parts += content if isinstance(content, list) else [content]
        for field in REASONING_FIELDS:
            thought = "".join(thoughts_in(delta.get(field)))
            # The others repeat the first.
            if thought:
                self.events += 1
                found = self._reasoning.add(thought) or found
                break
        if isinstance(delta.get("refusal"), str):
            self._refusals.append(delta["refusal"])
        self._take_call(delta)
        return found

    def _take_call(self, delta: Mapping[str, Any]) -> None:
        """Take the arguments of a server that turns a schema into a call of a tool."""
        calls = delta.get("tool_calls")
        call = calls[0] if isinstance(calls, list) and calls else None
        function = call.get("function") if isinstance(call, dict) else None
        function = function or delta.get("function_call")
        if not isinstance(function, dict):
            return
        arguments = function.get("arguments")
        if isinstance(arguments, str) and arguments:
            self.events += 1
            self._arguments.append(arguments)

    def _message(self) -> dict[str, Any]:
        text = self._answer.text
        message: dict[str, Any] = {
            "content": [*([text] if text else []), *self._parts]
            if self._parts
            else text,
            "reasoning": self._reasoning.text,
        }
        if self._refusals:
            message["refusal"] = "".join(self._refusals)
        if self._arguments:
            message["function_call"] = {"arguments": "".join(self._arguments)}
        return message


class _Watched:
    """A text that is put together, and what watches it."""

    def __init__(self, watch: LoopWatch | None) -> None:
        self._watch = watch
        self._pieces: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    def add(self, piece: str) -> str | None:
        self._pieces.append(piece)
        return self._watch.feed(piece) if self._watch else None


def _parsed(data: bytes) -> dict[str, Any] | None:
    """Return an event; None if it is none, as the `[DONE]` of the end."""
    try:
        event = from_json(data)
    except ValueError:
        event = _leniently_parsed(data)
    return event if isinstance(event, dict) else None


def _leniently_parsed(data: bytes) -> Any:
    # The standard library takes lone surrogates, which a server may make of half an emoji.
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _is_error(event: Mapping[str, Any]) -> bool:
    return event.get("object") == "error" or event.get("type") == "error"
