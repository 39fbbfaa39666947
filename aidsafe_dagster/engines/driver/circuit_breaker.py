"""CircuitBreaker: tells a server that is down from calls that fail while it is up.

A call that keeps failing while others are answered is at fault itself, and its row fails. When
nothing is answered any more, the server is down and no call is to blame.

The circuit is closed while the server answers. It opens after a few failures in a row: calls are
held back, and a one-word probe is sent until one is answered. That answer closes the circuit again.
A failed attempt counts against its call only if something sent after it was answered.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from uuid import uuid4

from aidsafe_dagster.engines.protocol import (
    Engine,
    ErrorKind,
    RequestRejected,
    RetryableError,
)
from aidsafe_dagster.recipe.dialogue import Request, Sampling
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Message, Role, Stage

PROBE_TIMEOUT_S = 30.0
"""After this time without an answer, the next probe is sent beside the first."""
_FAILURES_TO_OPEN = 3
"""Failures in a row after which the circuit opens."""
_PROBES_TO_BE_DOWN = 2
"""Unanswered probes in a row after which the server is down."""
_FIRST_PAUSE_S = 0.5
"""The pause after the first probe. It doubles with each further one."""
_LONGEST_PAUSE_S = 15.0
_NEVER = float("-inf")
logger = logging.getLogger(__name__)


class ServerUnavailable(Exception):
    """The server has been down for longer than `driver.patience_s`."""


class CircuitBreaker:
    """The circuit breaker of one model.

    Args:
        name: what is called, for messages.
        probe: sends a probe, and returns whether anything came back.
        patience_s: how long calls are held back before they fail.
        first_answer_s: the same for a server that has never answered, which points to a mistake in
            the settings. None for a server that is known to have answered before.
        on_release: called when held calls may go on or have to fail. True after an outage.
        log: takes a line when the server goes down and when it is up again.
    """

    def __init__(
        self,
        name: str,
        probe: Callable[[], Awaitable[bool]],
        patience_s: float,
        first_answer_s: float | None,
        on_release: Callable[[bool], None],
        log: Callable[[str], None] = logger.info,
    ) -> None:
        self.name = name
        self._send_probe = probe
        self._patience_s = patience_s
        self._first_answer_s = first_answer_s
        self._on_release = on_release
        self._log = log
        self._last_answered_start = _NEVER
        """Start of the latest call that was answered."""
        self._outage_end = _NEVER
        """Calls that started before this failed because of an outage, or may have."""
        self._failures = 0
        self._failing_since = 0.0
        self._error = ""
        self._prober: asyncio.Task[None] | None = None
        self._probes: set[asyncio.Task[None]] = set()
        self.is_open = False
        """Calls are held back until a probe is answered."""
        self.is_down = False
        """Probes are unanswered as well."""

    def notice(self) -> str:
        """Return how long the server has been down, and why. Empty while it is up."""
        if not self.is_down:
            return ""
        return f"{self.name} has not answered for {self._seconds_failing():.0f} s ({self._error})"

    def is_fault_of_call(self, started: float) -> bool:
        """Return whether a failed attempt that started then failed although the server was up."""
        return self._outage_end <= started < self._last_answered_start

    def record_success(self, started: float) -> None:
        """Note that a call that started then got a reply, which may be a refusal."""
        # Replies come out of order: a late reply to an early call says nothing about later ones.
        self._last_answered_start = max(self._last_answered_start, started)
        was_open = self.is_open
        was_down = self.is_down
        self._failures = 0
        self.is_open = self.is_down = False
        if was_down:
            self._outage_end = time.monotonic()
            self._log(
                f"{self.name} answers again, after {self._seconds_failing():.0f} s"
            )
        if was_open:
            self._on_release(was_down)

    def record_failure(
        self, started: float, error: str, *, is_last_attempt: bool = False
    ) -> None:
        """Note that nothing came back for a call that started then.

        After a call's last attempt the circuit opens at once, since a probe has to show whether
        the call or the server is at fault.
        """
        if not self._failures:
            self._failing_since = started
            self._error = error
        self._failures += 1
        is_due = is_last_attempt or self._failures >= _FAILURES_TO_OPEN
        if is_due and not self.is_open:
            self.is_open = True
            # The earlier one may be in its pause still, and would go on beside the new one.
            if self._prober:
                self._prober.cancel()
            self._prober = asyncio.create_task(self._probe_until_answered())

    @property
    def is_holding(self) -> bool:
        """Calls are held back, and patience is not at its end."""
        return self.is_open and not self._is_patience_over()

    def check_patience(self) -> None:
        """Raise what calls fail with once the server has been down for too long.

        Raises:
            ServerUnavailable: it has been down for longer than `patience_s`.
            SetupError: it has never answered, within `first_answer_s`.
        """
        if self._is_first_answer_overdue():
            raise SetupError(
                f"{self.name} has not answered once in {self._seconds_failing():.0f} s "
                f"({self._error}). Is the server up, and are its address and model in the "
                "settings right?"
            )
        if self._is_patience_over():
            raise ServerUnavailable(f"{self.notice()}, longer than driver.patience_s")

    async def close(self) -> None:
        """Stop probing."""
        tasks = list(self._probes)
        if self._prober:
            tasks.append(self._prober)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _seconds_failing(self) -> float:
        return time.monotonic() - self._failing_since

    def _is_first_answer_overdue(self) -> bool:
        if not self.is_down or self._first_answer_s is None:
            return False
        has_never_answered = self._last_answered_start == _NEVER
        return has_never_answered and self._seconds_failing() >= self._first_answer_s

    def _is_patience_over(self) -> bool:
        if self._is_first_answer_overdue():
            return True
        return self.is_down and self._seconds_failing() >= self._patience_s

    async def _probe_until_answered(self) -> None:
        pause_s = _FIRST_PAUSE_S
        unanswered = 0
        while True:
            probe = asyncio.create_task(self._probe())
            self._probes.add(probe)
            probe.add_done_callback(self._probes.discard)
            # The probe is not cancelled after the timeout: a late answer counts, too.
            await asyncio.wait({probe}, timeout=PROBE_TIMEOUT_S)
            # A probe or any other call was answered meanwhile.
            if not self.is_open:
                return
            unanswered += 1
            if unanswered >= _PROBES_TO_BE_DOWN:
                self._note_outage()
            # Jitter keeps the probes of several processes apart.
            await asyncio.sleep(pause_s * random.uniform(0.7, 1.0))  # noqa: S311
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _probe(self) -> None:
        started = time.monotonic()
        if await self._send_probe():
            self.record_success(started)

    def _note_outage(self) -> None:
        if not self.is_down:
            self.is_down = True
            self._log(f"{self.notice()}. All calls to it wait")
        # Held calls go on only to fail, with what `check_patience` raises.
        if self._is_patience_over():
            self._on_release(False)


async def probe(engine: Engine, role: Role, agent: str = "") -> bool:
    """Send a one-word question and return whether anything came back, be it a refusal."""
    try:
        await engine.complete(_probe_request(role, agent), 0)
    except RetryableError as error:
        return error.kind is not ErrorKind.UNAVAILABLE
    except (RequestRejected, SetupError):
        # Even "no such model" comes from a server that is up. The calls themselves will raise it.
        return True
    return True


def _probe_request(role: Role, agent: str) -> Request:
    # The random part keeps caches between us and the model from answering in its place.
    text = f"Are you there? Answer Yes or No. ({uuid4().hex})"
    return Request(
        prompt_id="",
        stage=Stage.PROMPTS,
        role=role,
        turn=0,
        messages=(Message(role="user", content=text),),
        schema={},
        sampling=Sampling(max_tokens=1),
        seed=0,
        draw=0,
        labels=("Yes", "No"),
        agent=agent,
    )
