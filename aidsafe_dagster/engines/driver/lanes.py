"""Servers and lanes: what calls to one server share, and to one model of it.

A server has slots and a rate limit. A lane leads to one model of a server: it has a circuit breaker
and a slow start, and the scheduler keeps a queue for each. A lane that is not ready keeps no other
lane's calls back.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from aidsafe_dagster.engines.driver.circuit_breaker import CircuitBreaker
from aidsafe_dagster.engines.driver.rate_file import RateFile
from aidsafe_dagster.engines.driver.rate_limiter import RateLimiter
from aidsafe_dagster.engines.driver.rate_state import Limit, Mode, Send
from aidsafe_dagster.engines.driver.refusals import Refusals
from aidsafe_dagster.engines.driver.slow_start import SlowStart
from aidsafe_dagster.engines.protocol import RetryableError, Route
from aidsafe_dagster.recipe.dialogue import Request
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Usage

_TOKENS_PER_CHARACTER = 0.25
"""Taken for prompts until some are counted."""
_FIRST_ANSWER_TOKENS = 200.0
"""Taken for the length of an answer until some are known."""
_SECONDS_SHOWN_S = 120.0
"""Times nearer than this are shown with their seconds."""
_OLD_S = 60.0
_BUSY_S = 5.0
"""How long a server has to refuse everything before the run's log says so."""
_SILENT_S = 20.0
"""How long no reply has to come before that is said."""


class Server:
    """What the calls to one server share: slots, rate limit, and how busy it says it is.

    Args:
        route: to any of its models.
        scale: calls in flight per slot of the server, 1 unless the settings say otherwise.
        patience_s: how long it may ask to wait, or refuse everything as busy.
        rate_file: shares the rate limit with other processes. None: this process is alone.
    """

    def __init__(
        self,
        route: Route,
        scale: float,
        patience_s: float,
        rate_file: RateFile | None,
    ) -> None:
        self.slots = max(1, math.ceil(route.slots * scale))
        self.cap = self.slots
        """Slots of this process."""
        self.in_flight = 0
        self._latest_reply = time.monotonic()
        """Or when it was last sent a call while it had none, in monotonic seconds."""
        self._shown_as = f"the {route.server} engine"
        if route.address:
            self._shown_as = f"the server at {route.address}"
        self.backing_off = 0
        """Calls that were rejected and wait by themselves."""
        self.limiter = RateLimiter(_limit(route))
        self._file = rate_file
        self._patience_s = patience_s
        self._busy_since: float | None = None
        self._asked_until = 0.0
        self._words = ""
        self._name = ""
        self._answer_tokens = _FIRST_ANSWER_TOKENS
        self._tokens_per_character = _TOKENS_PER_CHARACTER

    @property
    def is_limited(self) -> bool:
        """Whether a rate limit is in force."""
        return self.limiter.is_in_force

    @property
    def is_indifferent(self) -> bool:
        """Whether it rejects calls however slowly they come."""
        return time.monotonic() < self.limiter.state.indifferent_until

    def allowance(self) -> int:
        """Return how many calls it may be sent at this moment."""
        free = self.cap - self.in_flight
        if free > 0 and self.limiter.is_in_force:
            return min(free, self.limiter.allowance(self._now()))
        return free

    def wait_s(self) -> float:
        """Return the seconds until its rate limit lets the next call go."""
        return self.limiter.wait_s(self._now())

    def try_send(self, request: Request) -> Send | None:
        """Count a call that is sent now. None if another process has just used the rate up."""
        # Nobody waits for a server that has nothing to do.
        if not self.in_flight:
            self._latest_reply = time.monotonic()
        if not self.limiter.is_in_force:
            return self.limiter.take(self._now())
        with self._shared():
            now = self._now()
            if self.limiter.wait_s(now) > 0:
                return None
            return self.limiter.take(now, self._estimate(request))

    def note_reply(
        self, send: Send, request: Request, usage: Usage | None = None
    ) -> None:
        """Note an answer with its usage, or any other reply that does not call it busy."""
        self._latest_reply = time.monotonic()
        self._busy_since = None
        self._asked_until = 0.0
        if not self.limiter.is_in_force:
            return
        tokens = None
        if usage and self.limiter.limit.tokens is not None:
            tokens = float(usage.prompt_tokens + usage.completion_tokens) or None
            self._learn_lengths(request, usage)
        with self._shared():
            self.limiter.answer(self._now(), send, tokens)

    def note_busy(self, send: Send, error: RetryableError, name: str) -> None:
        """Note that it has rejected a call because of too many.

        Raises:
            SetupError: it asks to wait for longer than `driver.patience_s`, or has refused
                everything for that long.
        """
        self._latest_reply = time.monotonic()
        now = self._now()
        if self._busy_since is None:
            self._busy_since = now
        self._name = name
        self._words = str(error)
        wait_s = error.retry_after_s or 0.0
        self._asked_until = max(self._asked_until, now + wait_s)
        self._check_patience(now, wait_s)
        hint = None
        if error.limits:
            hint = _per_second(
                error.limits.requests_per_minute, error.limits.tokens_per_minute
            )
        if self.limiter.is_in_force:
            with self._shared():
                self.limiter.reject(now, send, wait_s, hint)
            return
        self.limiter.reject(now, send, wait_s, hint)
        # It is in force from now on, unless another process has found a limit before.
        if self.limiter.is_in_force:
            with self._shared(is_new=True):
                pass

    def sync(self) -> None:
        """Take over what other processes have learned."""
        if self._file:
            state = self._file.read_if_changed()
            if state:
                self.limiter.state = state

    def notice(self, waiting: int) -> str:
        """Return why calls wait. Empty while they need not."""
        now = time.monotonic()
        calls = f"{waiting} calls wait" if waiting != 1 else "1 call waits"
        if self._asked_until > now + 1 and self._busy_since is not None:
            until = _clock_time_in(self._asked_until - now)
            return f"{self._name} asks to wait until {until} ({self._words}); {calls}"
        if self._busy_since is not None and now - self._busy_since > _BUSY_S:
            since = _clock_time_in(self._busy_since - now)
            return f"{self._name} has been busy since {since} ({self._words}); {calls}"
        rate = self.limiter.calls_per_minute
        if self._name and waiting and rate:
            return f"{self._name} takes about {rate:.0f} calls a minute; {calls}"
        return ""

    def silence(self, now: float) -> str:
        """Return for how long nothing has come back, while a reply is due; else nothing.

        Args:
            now: in monotonic seconds.
        """
        silent_s = now - self._latest_reply
        if not self.in_flight or silent_s < _SILENT_S:
            return ""
        return f"{self._shown_as} has been silent for {silent_s:.0f} s"

    def _now(self) -> float:
        """Return the time by which waiting is counted, whatever the clock on the wall is set to."""
        now = time.monotonic()
        self.limiter.wall_offset_s = time.time() - now
        return now

    def _check_patience(self, now: float, wait_s: float) -> None:
        patience = f"longer than driver.patience_s ({self._patience_s:.0f} s)"
        if wait_s > self._patience_s:
            until = _clock_time_in(wait_s)
            raise SetupError(
                f"{self._name} asks to wait until {until} ({self._words}), {patience}"
            )
        since = self._busy_since or now
        # What is in flight and not rejected has been let in.
        if not self.in_flight and now - since > self._patience_s:
            raise SetupError(
                f"{self._name} has refused every call as busy since "
                f"{_clock_time_in(since - now)} ({self._words}), {patience}"
            )

    def _estimate(self, request: Request) -> float:
        """Return the tokens that a call will take, as far as can be told before it is made."""
        if self.limiter.limit.tokens is None:
            return 0.0
        prompt_tokens = self._tokens_per_character * _characters(request)
        return prompt_tokens + self._answer_tokens

    def _learn_lengths(self, request: Request, usage: Usage) -> None:
        """Learn from a call what the next ones will take."""
        self._answer_tokens += 0.2 * (usage.completion_tokens - self._answer_tokens)
        if usage.prompt_tokens:
            ratio = usage.prompt_tokens / max(1, _characters(request))
            self._tokens_per_character += 0.2 * (ratio - self._tokens_per_character)

    @contextmanager
    def _shared(self, *, is_new: bool = False) -> Iterator[None]:
        """Work on what all processes know; `is_new` if this one has just learned of a limit."""
        if self._file is None:
            yield
            return
        own = self.limiter.state
        with self._file.change(own) as state:
            # Another process may have learned of the limit a moment ago. Then that counts.
            # One that lies ahead is from before the machine was started.
            is_old = not -_OLD_S < own.updated - state.updated < _OLD_S
            if is_new and (state.mode is Mode.FREE or is_old):
                vars(state).update(vars(own))
            self.limiter.state = state
            yield


@dataclass(eq=False)
class Lane:
    """The way to one model of a server."""

    name: str
    """For messages: 'the endpoint engine (m)'."""
    server: Server
    breaker: CircuitBreaker
    slow_start: SlowStart
    refusals: Refusals
    note_first_answer: Callable[[], None]
    in_flight: int = 0
    error: SetupError | None = None
    """What every call would meet. The drive that met it is about to stop."""

    @property
    def is_ready(self) -> bool:
        """Whether it can take a call now."""
        if self.in_flight >= self.slow_start.limit - self.refusals.held_back:
            return False
        return self.server.allowance() > 0

    def record_answer(self) -> None:
        """Note that the model has answered a call."""
        if not self.refusals.has_answered:
            self.note_first_answer()
        self.refusals.record_answer()
        self.slow_start.record_answer()


def _clock_time_in(seconds: float) -> str:
    """Return the local time of day in so many seconds, or so many ago if negative."""
    now = time.time()
    return clock_time(now + seconds, now)


def clock_time(at: float, now: float) -> str:
    """Return the local time of day, with the date when it is not that of `now`."""
    moment = datetime.fromtimestamp(at).astimezone()
    today = datetime.fromtimestamp(now).astimezone().date()
    shown = "%H:%M:%S" if abs(at - now) < _SECONDS_SHOWN_S else "%H:%M"
    if moment.date() != today:
        shown = f"%Y-%m-%d {shown}"
    return moment.strftime(shown)


def _characters(request: Request) -> int:
    return sum(len(message.content) for message in request.messages)


def _limit(route: Route) -> Limit:
    return _per_second(route.requests_per_minute, route.tokens_per_minute)


def _per_second(calls: float | None, tokens: float | None) -> Limit:
    """Return limits a second from those a minute."""
    return Limit(
        calls=None if calls is None else calls / 60,
        tokens=None if tokens is None else tokens / 60,
    )
