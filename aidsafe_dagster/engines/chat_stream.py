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
        self._unread = bytearray()
        self._has_line = False
        """A whole line is unread."""
        self._other_bytes = 0
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
        self._unread += data
        # A line without an end is not searched again with every piece of it.
        self._has_line = self._has_line or b"\n" in data
        if not self._has_line or len(self._unread) < _BATCH_BYTES:
            return None
        return self._read()

    @property
    def size(self) -> int:
        """Bytes of what has been put together so far, roughly."""
        return self._answer.size + self._reasoning.size + self._other_bytes

    def reply(self) -> dict[str, Any] | None:
        """Return the reply that the stream makes up. None: it is no such stream.

        A stream without a finish reason was cut.
        """
        self._unread += b"\n"
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
        # A line end may itself be cut between its two bytes.
        end = self._unread.rfind(b"\n") + 1
        lines = bytes(self._unread[:end]).splitlines()
        del self._unread[:end]
        self._has_line = False
        loop = None
        for line in lines:
            if line.startswith(_DATA):
                loop = self._take(line[len(_DATA) :]) or loop
        return loop

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
        pieces = self._other_pieces
        loop = self._take_choice(choice)
        if self._other_pieces > pieces:
            self._other_bytes += len(data)
        return loop

    @property
    def _other_pieces(self) -> int:
        """How many pieces have come that are neither answer nor reasoning."""
        texts = len(self._refusals) + len(self._arguments)
        return len(self._parts) + len(self._log_probabilities) + texts

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
            positions = probabilities.get("content")
            self._log_probabilities += positions if isinstance(positions, list) else []
        delta = choice.get("delta")
        if delta is None and not self.events:
            # A whole message, or a completion without chat.
            delta = choice.get("message") or {"content": choice.get("text")}
        return self._take_delta(delta) if isinstance(delta, dict) else None

    def _take_delta(self, delta: Mapping[str, Any]) -> str | None:
        loop = None
        content = delta.get("content")
        if isinstance(content, str) and content:
            self.events += 1
            loop = self._answer.add(content)
        elif isinstance(content, list | dict) and content:
            self.events += 1
            self._parts += content if isinstance(content, list) else [content]
        for field in REASONING_FIELDS:
            thought = "".join(thoughts_in(delta.get(field)))
            # The others repeat the first.
            if thought:
                self.events += 1
                loop = self._reasoning.add(thought) or loop
                break
        if isinstance(delta.get("refusal"), str):
            self._refusals.append(delta["refusal"])
        self._take_call(delta)
        return loop

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
        self.size = 0
        """In characters."""

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    def add(self, piece: str) -> str | None:
        self._pieces.append(piece)
        self.size += len(piece)
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
