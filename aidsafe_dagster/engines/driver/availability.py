"""Availability of a server: whether an engine is there at all, told apart from calls that fail while it is.

A call that fails for ever while others are answered is the call's own fault, and fails its row. When nothing is
answered any more the server is away, and no call is to blame: all wait, for up to `patience_s`. So a failed attempt
counts once something that was asked after it has been answered. When several fail in a row and nothing is answered,
calls are held, and a question of one word is asked until somebody answers it.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable

from aidsafe_dagster.recipe.errors import SetupError

QUESTION_S = 30.0
"""So long a question may go unanswered before the next one is asked."""
_DOUBTFUL = 3  # failures in a row
_AWAY = 2  # questions in a row without an answer
_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 15.0
logger = logging.getLogger(__name__)


class ServerUnavailable(Exception):
    """The engine did not answer for longer than patience lasts."""


class Availability:
    """Of one model. `ask` puts the question and tells whether anything at all came back.

    `first_answer_s` bounds the wait for an engine that has never answered, which is a mistake in the settings rather
    than an outage; None when it is known to have answered before. `on_change` is called when held calls may go on, or
    have to fail; with True after an outage.
    """

    def __init__(
        self,
        what: str,
        ask: Callable[[], Awaitable[bool]],
        patience_s: float,
        first_answer_s: float | None,
        on_change: Callable[[bool], None],
        log: Callable[[str], None] = logger.info,
    ) -> None:
        self.what, self._ask, self._on_change, self._log = what, ask, on_change, log
        self._patience_s, self._first_answer_s = patience_s, first_answer_s
        self._latest = float("-inf")
        """When the latest of the calls that were answered had begun."""
        self._pardoned = float("-inf")
        """What began before this failed because of an outage, or is taken to have."""
        self._failures, self._failing_since, self._error = 0, 0.0, ""
        self._asking: asyncio.Task[None] | None = None
        self._questions: set[asyncio.Task[None]] = set()
        self.away = False
        self.doubtful = False
        """Calls are to be held until it is known whether the engine is there."""

    def notice(self) -> str:
        """For the log while the engine is away: since when, and why; else empty."""
        waited = time.monotonic() - self._failing_since
        return (
            f"{self.what} has not answered for {waited:.0f} s ({self._error})" if self.away else ""
        )

    def blames(self, began: float) -> bool:
        """A call that began then and failed did so although the engine was there."""
        return self._pardoned <= began < self._latest

    def answered(self, began: float) -> None:
        """Something came back for a call that began then, be it a refusal."""
        self._latest = max(self._latest, began)
        was_doubtful, was_away = self.doubtful, self.away
        self._failures, self.doubtful, self.away = 0, False, False
        if was_away:
            self._pardoned = time.monotonic()
            self._log(
                f"{self.what} answers again, after {time.monotonic() - self._failing_since:.0f} s"
            )
        if was_doubtful:
            self._on_change(was_away)

    def failed(self, began: float, error: str, *, last: bool = False) -> None:
        """Nothing came back for a call that began then; `last`: it is time to know whose fault that is."""
        if not self._failures:
            self._failing_since, self._error = began, error
        self._failures += 1
        if not self.doubtful and (last or self._failures >= _DOUBTFUL):
            self.doubtful = True
            self._asking = asyncio.create_task(self._ask_until_answered())

    def check(self) -> None:
        """Raises what a call has to fail with when patience is at its end: ServerUnavailable, or SetupError."""
        waited = time.monotonic() - self._failing_since
        never = self._latest == float("-inf")
        if (
            self.away
            and never
            and self._first_answer_s is not None
            and waited >= self._first_answer_s
        ):
            raise SetupError(
                f"{self.what} has not answered once in {waited:.0f} s ({self._error}); is the server up, and are its "
                "address and model in the settings right?"
            )
        if self.away and waited >= self._patience_s:
            raise ServerUnavailable(f"{self.notice()}, longer than driver.patience_s")

    async def close(self) -> None:
        tasks = [*self._questions, *([self._asking] if self._asking else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask_until_answered(self) -> None:
        pause, unanswered = _PAUSE_S, 0
        while True:
            question = asyncio.create_task(self._question())
            self._questions.add(question)
            question.add_done_callback(self._questions.discard)
            await asyncio.wait({question}, timeout=QUESTION_S)
            if not self.doubtful:
                return
            unanswered += 1
            if unanswered >= _AWAY:
                self._be_away()
            await asyncio.sleep(pause * random.uniform(0.7, 1.0))  # noqa: S311
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def _question(self) -> None:
        began = time.monotonic()
        if await self._ask():
            self.answered(began)

    def _be_away(self) -> None:
        if not self.away:
            self.away = True
            self._log(f"{self.notice()}; all calls to it wait")
        try:
            self.check()
        except (ServerUnavailable, SetupError):
            self._on_change(False)
