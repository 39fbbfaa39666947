"""Attempts at calls, and what a failed one means: the call's fault, a server with too much to do, or none at all."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import uuid4

from aidsafe_dagster.engines.driver.availability import Availability, ServerUnavailable
from aidsafe_dagster.engines.driver.concurrency_limiter import ConcurrencyLimiter
from aidsafe_dagster.engines.driver.journal_writer import JournalWriter
from aidsafe_dagster.engines.driver.request_coalescing import RequestCoalescer
from aidsafe_dagster.engines.driver.rows_in_progress import CallFailed, PendingCall
from aidsafe_dagster.engines.driver.settings import DriverSettings
from aidsafe_dagster.engines.journal import Entry
from aidsafe_dagster.engines.protocol import Engine, ErrorKind, RequestRejected, RetryableError
from aidsafe_dagster.recipe.dialogue import Completion, Request, Sampling
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import FailureReason, Message, Role, Stage

_BUSY_TIMES = (
    4  # as long a pause when the server has too much to do, as when an attempt fails otherwise
)
logger = logging.getLogger(__name__)


class Attempts:
    """Those under way. A call that waits for its next attempt, or for an engine that is away, holds no slot.

    `questions` hears what becomes of a call, and `free` is called when a slot may be free. An engine that is not
    `known` to have answered before is waited for less long.
    """

    def __init__(
        self,
        engine: Engine,
        recorder: JournalWriter,
        settings: DriverSettings,
        questions: RequestCoalescer,
        free: Callable[[], None],
        log: Callable[[str], None],
        *,
        known: bool,
    ) -> None:
        self.engine, self.settings, self._recorder = engine, settings, recorder
        self._questions, self._free, self._log, self._known = questions, free, log, known
        self.pace = ConcurrencyLimiter(settings.calls_in_flight or engine.slots)
        self.in_flight = self.answered = 0
        self._presences: dict[str, Availability] = {}
        self._held: list[PendingCall] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def launch(self, call: PendingCall) -> None:
        """Makes the next attempt; while it is doubtful whether its model is there, once that is known."""
        presence = self._presence(call)
        if self._is_hopeless(call, presence):
            return
        try:
            presence.check()
        except ServerUnavailable as error:
            self._end(call, CallFailed(FailureReason.ENGINE_ERROR, str(error)))
        except SetupError as error:
            self._end(call, error)
        else:
            if presence.doubtful:
                self._held.append(call)
            else:
                self.in_flight += 1
                self._spawn(self._attempt(call, presence))

    @property
    def holding(self) -> bool:
        """Calls wait to hear whether the engine is there: no time to begin more rows."""
        return bool(self._held)

    def notice(self) -> str:
        """What is away, since when, and how many calls wait; empty when all is well."""
        away = "; ".join(filter(None, (presence.notice() for presence in self._presences.values())))
        return f"{away}; {len(self._held)} calls wait" if away else ""

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for presence in self._presences.values():
            await presence.close()

    async def _attempt(self, call: PendingCall, presence: Availability) -> None:
        began = time.monotonic()
        try:
            completion = await self._completion(call)
            presence.answered(began)
            self.pace.answered()
            entry = Entry(call.key, call.request, completion, time.monotonic() - began)
            self._answered(call, await self._recorder.record(entry))
        except RetryableError as error:
            self._troubled(call, presence, error, began)
        except RequestRejected as error:
            presence.answered(began)
            self._end(call, CallFailed(FailureReason.REJECTED_BY_ENGINE, str(error)))
        except Exception as error:  # noqa: BLE001 - raised by whoever waits for the call
            self._end(call, error)
        self._free()

    async def _completion(self, call: PendingCall) -> Completion:
        try:
            return await self.engine.complete(call.request, call.attempt)
        finally:
            self.in_flight -= 1

    def _answered(self, call: PendingCall, completion: Completion) -> None:
        self.answered += 1
        call.tally.asked += 1
        call.tally.usage += completion.usage
        self._questions.over(call, None)
        call.resolve(completion)

    def _troubled(
        self, call: PendingCall, presence: Availability, error: RetryableError, began: float
    ) -> None:
        call.tally.tried_again += 1
        call.failed_at.append(began)
        call.error = str(error)
        if error.trouble is ErrorKind.AWAY:
            presence.failed(
                began, str(error), last=len(call.failed_at) >= self.settings.max_attempts
            )
        else:
            presence.answered(time.monotonic())
            call.attempt += error.trouble is ErrorKind.ANSWER
        if error.trouble is ErrorKind.BUSY:
            self.pace.busy()
        if not self._is_hopeless(call, presence):
            request = call.request
            logger.debug(
                "%s %s turn %d: %s; trying again",
                request.prompt_id,
                request.stage,
                request.turn,
                error,
            )
            asyncio.get_running_loop().call_later(
                self._pause(call, error), self._questions.again, call
            )

    def _is_hopeless(self, call: PendingCall, presence: Availability) -> bool:
        """Ends a call that has failed too often while others were answered; of the latest failure that need not be
        known yet."""
        most = self.settings.max_attempts
        blamed = sum(map(presence.blames, call.failed_at))
        if len(call.failed_at) < most or blamed < max(1, most - 1):
            return False
        detail = f"{call.error} (attempt {len(call.failed_at)}, the last)"
        self._end(call, CallFailed(FailureReason.ENGINE_ERROR, detail))
        return True

    def _pause(self, call: PendingCall, error: RetryableError) -> float:
        """Seconds, with jitter, so that calls that failed together do not come back together."""
        failures = len(call.failed_at)
        times = _BUSY_TIMES if error.trouble is ErrorKind.BUSY else 1
        backoff = min(
            times * self.settings.backoff_s * 2.0 ** min(failures - 1, 30),
            self.settings.max_backoff_s,
        )
        if error.after_s is None:
            return backoff * random.uniform(0.5, 1.0)  # noqa: S311
        asked_for = error.after_s if failures == 1 else max(error.after_s, backoff)
        return asked_for * random.uniform(1.0, 1.2)  # noqa: S311

    def _end(self, call: PendingCall, error: Exception) -> None:
        self._questions.over(call, error if isinstance(error, CallFailed) else None)
        call.fail(error)

    def _presence(self, call: PendingCall) -> Availability:
        """One per model: that one server is away says nothing of another."""
        if call.model not in self._presences:
            self._presences[call.model] = Availability(
                f"the {self.engine.name} engine ({call.model})",
                lambda: self._is_there(call.request.role),
                self.settings.patience_s,
                None if self._known else self.settings.first_answer_s,
                self._release,
                self._log,
            )
        return self._presences[call.model]

    async def _is_there(self, role: Role) -> bool:
        try:
            await self.engine.complete(_question(role), 0)
        except RetryableError as error:
            return error.trouble is not ErrorKind.AWAY
        except (RequestRejected, SetupError):
            return True
        return True

    def _release(self, after_an_outage: bool) -> None:
        """What is still doubtful is held again."""
        if after_an_outage:
            self.pace.after_an_outage()
        held, self._held = self._held, []
        for call in held:
            self._questions.again(call)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _question(role: Role) -> Request:
    """A question of one word, never asked before: to learn whether anybody answers."""
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
    )
