"""How an answer that loops is ended before it is whole, so that it does not hold its batch up.

`server`: vLLM itself ends an answer that repeats a run of tokens. `stream`: the answer comes as a
stream, which is watched, and the connection is closed. A stream costs CPU for every token, so by
default answers are streamed only while the server writes few of them (`_MOST_STREAMED`).
"""

from collections.abc import Mapping
from typing import Any, Literal

from aidsafe_dagster.engines.settings import ServerSettings
from aidsafe_dagster.recipe.dialogue import Request
from aidsafe_dagster.recipe.records import Role, Usage

Way = Literal["server", "stream", "off"]

REPETITION = "repetition_detection"
_WAYS: Mapping[Way, Mapping[str, Any]] = {
    # Patterns of 8 to 40 tokens, which contain the shorter ones several times. Eight of them are
    # more than `recipe.loops` allows. Each size costs vLLM's scheduler time for every token.
    "server": {
        REPETITION: {"min_pattern_size": 8, "max_pattern_size": 40, "min_count": 8}
    },
    "stream": {"stream": True, "stream_options": {"include_usage": True}},
    "off": {},
}
_MOST_STREAMED = 1000.0
"""Tokens per second over all calls. At about 40 µs of CPU each, they take 4 % of a core."""
_WEIGHT = 0.1
"""Of the latest call in the mean speed."""


def fields_of(way: Way) -> Mapping[str, Any]:
    """Return the fields of a request's body."""
    return _WAYS[way]


class LoopEnding:
    """Chooses the way for each call to one server, by what the settings say and the server does."""

    def __init__(self) -> None:
        self.has_streamed = False
        """A stream was asked for, and came."""
        self.refuses_streams = False
        self.counts_no_streams = False
        """The server does not say how many tokens a stream took."""
        self.in_flight = 0
        self._speed = 0.0
        """Tokens per second of one call, the mean of late ones. 0: not known yet."""

    def way(self, request: Request, settings: ServerSettings) -> Way:
        # How a candidate writes is what is evaluated, loops and all.
        if not request.end_loops or request.labels or request.role is Role.CANDIDATE:
            return "off"
        way = settings.end_loops
        if way == "auto":
            is_fast = self._speed * self.in_flight > _MOST_STREAMED
            # Rows without token counts are worse than a rare loop.
            way = "off" if is_fast or self.counts_no_streams else "stream"
        return "off" if way == "stream" and self.refuses_streams else way

    def note(self, usage: Usage, seconds: float) -> None:
        """Note how long an answer took."""
        if not usage.completion_tokens or seconds <= 0:
            return
        speed = usage.completion_tokens / seconds
        change = speed - self._speed
        self._speed += change * (_WEIGHT if self._speed else 1.0)
