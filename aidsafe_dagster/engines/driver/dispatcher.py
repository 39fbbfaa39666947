"""The path of a request: cache look-up, slot, engine, retry, record.

It reads downwards in two methods of the `Dispatcher`. `complete` serves a row: it looks the request
up in the journal, joins a call that is under way (request coalescing), or queues a new one. `_send`
serves a call: it waits for a slot, sends, decides whether to retry, and records the answer. Nothing
goes on before its answer is in the journal, and a call that backs off holds no slot.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial

from aidsafe_dagster.engines.driver.async_journal import AsyncJournal
from aidsafe_dagster.engines.driver.calls import Call, CallFailed
from aidsafe_dagster.engines.driver.circuit_breaker import (
    CircuitBreaker,
    ServerUnavailable,
    probe,
)
from aidsafe_dagster.engines.driver.concurrency_limiter import ConcurrencyLimiter
from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.engines.driver.retry_policy import RetryPolicy
from aidsafe_dagster.engines.driver.rows import ActiveRow
from aidsafe_dagster.engines.driver.scheduler import Scheduler
from aidsafe_dagster.engines.driver.settings import DriverSettings
from aidsafe_dagster.engines.driver.slot_shares import SlotShares
from aidsafe_dagster.engines.journal import Entry, Journal
from aidsafe_dagster.engines.protocol import (
    Engine,
    ErrorKind,
    RequestRejected,
    RetryableError,
    Route,
)
from aidsafe_dagster.recipe.dialogue import Completion, Request
from aidsafe_dagster.recipe.records import FailureReason

TICK_S = 0.25
logger = logging.getLogger(__name__)


class Dispatcher:
    """Divides the slots of an engine among calls, and brings each call to its end.

    Args:
        engine: answers the requests.
        journal: holds the completions.
        settings: of the driver.
        begin_row: starts a row that has been given a slot.
        shares: divides the slots between processes. None: this process has all of them.
        log: takes a line when the server goes down and when it is up again.
    """

    def __init__(
        self,
        engine: Engine,
        journal: Journal,
        settings: DriverSettings,
        begin_row: Callable[[ActiveRow], None],
        shares: SlotShares | None,
        log: Callable[[str], None],
    ) -> None:
        self.engine = engine
        self.settings = settings
        self._log = log
        self.scheduler = Scheduler()
        self.drives: list[Progress] = []
        """Progress of each drive that is running."""
        self._journal = AsyncJournal(journal)
        self._limiter = ConcurrencyLimiter(settings.calls_in_flight or engine.slots)
        self._retries = RetryPolicy(settings)
        self._breakers: dict[str, CircuitBreaker] = {}

        self._calls: dict[str, Call] = {}
        """Calls under way, by journal key: rows with the same request share one."""
        self._call_tasks: set[asyncio.Task[None]] = set()
        self._held: list[Call] = []
        """Calls that wait for their circuit to close."""
        self._answered: set[str] = set()
        """Keys of the calls that were answered here."""
        self._given_up: dict[str, CallFailed] = {}
        """Calls that used up their retry budget while they were read ahead."""

        self._begin_row = begin_row
        self._shares = shares
        self._starting: set[ActiveRow] = set()
        """Rows that have begun and not yet needed the engine. Each holds a slot."""
        self._in_flight = 0
        self._share = self._limiter.maximum
        self._has_answered_before = shares is None or shares.answered_before
        self._ticker: asyncio.Task[None] | None = None
        self._is_grant_due = False
        self._is_stopped = False

    def start(self) -> None:
        """Start to give slots to what the scheduler holds."""
        # The share, the limit and an outage also change while no call ends.
        if self._ticker is None:
            self._ticker = asyncio.create_task(self._keep_ticking())
        self._tick()

    def stop(self) -> None:
        """Give out no more slots."""
        self._is_stopped = True

    async def close(self) -> None:
        """End all calls that are under way. What was answered is in the journal."""
        self.stop()
        tasks = list(self._call_tasks)
        if self._ticker:
            tasks.append(self._ticker)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for breaker in self._breakers.values():
            await breaker.close()
        await self._journal.close()
        if self._shares:
            self._shares.close()

    def count_for(self, stage: str, progress: Progress) -> None:
        """Count the calls of a stage that are under way for a drive that has just begun."""
        for call in self._calls.values():
            if call.request.stage == stage:
                call.progress = progress

    async def complete(self, row: ActiveRow, request: Request) -> Completion:
        """Answer a request from the journal, from a call that is under way, or from the engine.

        Raises:
            CallFailed: the call cannot be answered.
            SetupError: no call can succeed.
        """
        route = self.engine.route(request.speaker)
        key = request.key(route.model, route.options)
        completion = await self._find_recorded(key)
        # A cache hit. It counts as a replay unless this very process made the call.
        if completion:
            row.progress.replayed += key not in self._answered
            # Let the others run: a row that only replays would never wait for anything.
            await asyncio.sleep(0)
            return _priced(completion, route)
        # The call used up its retry budget while it was read ahead.
        if row.stages_ahead == 0 and key in self._given_up:
            raise self._given_up.pop(key)
        call = self._calls.get(key)
        if call is None:
            call = self._calls[key] = Call(key, request, route, row.progress)
        answer = call.add_waiter(row)
        if call.is_queued:
            # Queued again: it ranks higher if this row is more urgent than the others.
            self.scheduler.put(call)
        # From now on the call needs a slot, and the row does not.
        self.leave_starting_slot(row)
        try:
            return await answer
        finally:
            call.waiters.pop(row, None)
            if call.is_queued and not call.waiters:
                self._abandon(call)

    async def _run_call(self, call: Call) -> None:
        """Bring a call to its end and hand the outcome to all rows that wait for it."""
        try:
            completion = _priced(await self._send(call), call.route)
        except Exception as error:  # noqa: BLE001 - raised by the rows that wait for the call
            # The step that reaches the row later must not spend another retry budget on it.
            is_read_ahead = all(row.stages_ahead for row in call.waiters)
            if isinstance(error, CallFailed) and is_read_ahead:
                self._given_up[call.key] = error
            del self._calls[call.key]
            call.fail(error)
        else:
            self._answered.add(call.key)
            call.progress.calls_made += 1
            call.progress.usage += completion.usage
            del self._calls[call.key]
            call.resolve(completion)
        self._grant_slots_soon()

    async def _send(self, call: Call) -> Completion:
        """Send a call until it is answered, and return the completion that the journal then holds.

        Raises:
            CallFailed: the retry budget is used up, the engine rejects the request, or an outage
                lasts too long.
            SetupError: no call can succeed.
        """
        breaker = self._breaker_of(call)
        while True:
            await call.slot
            started = time.monotonic()
            try:
                completion = await self._attempt(call, breaker)
            except RequestRejected as error:
                # A rejection is a reply, so the server is up.
                breaker.record_success(started)
                raise CallFailed(error.reason, str(error)) from error
            except RetryableError as error:
                self._record_failure(call, breaker, error, started)
                self._check_retry_budget(call, breaker)
                backoff_s = self._retries.backoff_s(call, error)
            else:
                breaker.record_success(started)
                self._limiter.record_success()
                seconds = time.monotonic() - started
                entry = Entry(call.key, call.request, completion, seconds)
                # Not `completion`: another process may have recorded the same call first.
                return await self._journal.record(entry)
            # The slot is free while the call backs off.
            self._grant_slots_soon()
            await asyncio.sleep(backoff_s)
            call.renew_slot()
            self._enqueue(call)

    async def _attempt(self, call: Call, breaker: CircuitBreaker) -> Completion:
        """Send a call once, in the slot that it holds, and free the slot."""
        try:
            # While the call waited, others may have shown whose fault its failures were.
            self._check_retry_budget(call, breaker)
            breaker.check_patience()
            return await self.engine.complete(call.request, call.attempt)
        except ServerUnavailable as error:
            raise CallFailed(FailureReason.ENGINE_ERROR, str(error)) from error
        finally:
            self._in_flight -= 1

    def _record_failure(
        self, call: Call, breaker: CircuitBreaker, error: RetryableError, started: float
    ) -> None:
        call.progress.retries += 1
        call.failed_at.append(started)
        call.error = str(error)
        if error.kind is ErrorKind.UNAVAILABLE:
            is_last = self._retries.is_last_attempt(call)
            breaker.record_failure(started, call.error, is_last_attempt=is_last)
        else:
            # A reply of any kind shows that the server is up at this moment.
            breaker.record_success(time.monotonic())
        # Another seed only after a useless answer: a lost connection says nothing about the first.
        if error.kind is ErrorKind.BAD_ANSWER:
            call.attempt += 1
        if error.kind is ErrorKind.RATE_LIMITED:
            self._limiter.record_rejection()
        request = call.request
        logger.debug(
            "%s %s turn %d: attempt %d failed: %s",
            request.prompt_id,
            request.stage,
            request.turn,
            len(call.failed_at),
            error,
        )

    def _check_retry_budget(self, call: Call, breaker: CircuitBreaker) -> None:
        if self._retries.is_exhausted(call, breaker):
            detail = f"{call.error} (attempt {len(call.failed_at)}, the last)"
            raise CallFailed(FailureReason.ENGINE_ERROR, detail)

    async def _find_recorded(self, key: str) -> Completion | None:
        """Look a completion up. None for a call that is under way or has never been made."""
        while key not in self._calls:
            was_answered = key in self._answered
            completion = await self._journal.find(key)
            if completion:
                return completion
            # Look again if the call was answered while the journal was being read.
            if was_answered or key not in self._answered:
                return None
        return None

    def _enqueue(self, call: Call) -> None:
        """Queue a call for its next attempt, unless no row waits for it any more."""
        if call.waiters:
            self.scheduler.put(call)
            self._grant_slots_soon()
        else:
            self._abandon(call)

    def _abandon(self, call: Call) -> None:
        """Drop a call that no row waits for and that is not in flight."""
        call.is_queued = False
        del self._calls[call.key]
        if call.task:
            call.task.cancel()

    def _breaker_of(self, call: Call) -> CircuitBreaker:
        """Return the circuit breaker of the call's model, as models may be on different servers."""
        # Models of one server may fail apart from each other, as adapters do.
        name = f"{call.route.server} ({call.route.model})"
        if name not in self._breakers:
            has_answered = self._has_answered_before
            self._breakers[name] = CircuitBreaker(
                name=f"the {self.engine.name} engine ({call.route.model})",
                probe=partial(
                    probe, self.engine, call.request.role, call.request.agent
                ),
                patience_s=self.settings.patience_s,
                first_answer_s=None if has_answered else self.settings.first_answer_s,
                on_release=self._release_held,
                log=self._log,
            )
        return self._breakers[name]

    def _release_held(self, is_after_outage: bool) -> None:
        """Queue all held calls. Those whose circuit is still open are held again."""
        # All held calls at once would bring a recovering server down again.
        if is_after_outage:
            self._limiter.restart_slowly()
        # Emptied first, since a call whose circuit is still open comes back into the list.
        held, self._held = self._held, []
        for call in held:
            self._enqueue(call)

    def _grant_slots(self) -> None:
        """Give free slots to queued calls and to rows that have not begun."""
        self._is_grant_due = False
        limit = min(self._limiter.limit, self._share)
        while not self._is_stopped and self._in_flight + len(self._starting) < limit:
            # No more rows begin while calls are held back: they would only wait as well.
            item = self.scheduler.pop(limit, may_begin_row=not self._held)
            if item is None:
                break
            if isinstance(item, ActiveRow):
                self._starting.add(item)
                self._begin_row(item)
            elif self._must_hold(item):
                self._held.append(item)
            else:
                self._grant_slot(item)
        self._note_in_flight()

    def _grant_slot(self, call: Call) -> None:
        self._in_flight += 1
        call.slot.set_result(None)
        # A call that is retried still has the task of its first attempt.
        if call.task is None:
            call.task = asyncio.create_task(self._run_call(call))
            # asyncio itself keeps only weak references to tasks.
            self._call_tasks.add(call.task)
            call.task.add_done_callback(self._call_tasks.discard)

    def _grant_slots_soon(self) -> None:
        """Grant slots once the rows that were just answered have queued their next calls."""
        # One grant serves all calls that end in the same turn of the event loop.
        if not self._is_grant_due and not self._is_stopped:
            self._is_grant_due = True
            asyncio.get_running_loop().call_soon(self._grant_slots)

    def _must_hold(self, call: Call) -> bool:
        """Return whether the circuit of a call is open. A call about to fail need not wait."""
        breaker = self._breaker_of(call)
        return breaker.is_holding and not self._retries.is_exhausted(call, breaker)

    def leave_starting_slot(self, row: ActiveRow) -> None:
        """Free the slot that a row holds from its beginning until it needs the engine."""
        self._starting.discard(row)
        self._grant_slots_soon()

    def _note_in_flight(self) -> None:
        for progress in self.drives:
            progress.in_flight = self._in_flight
            progress.peak_in_flight = max(progress.peak_in_flight, self._in_flight)

    async def _keep_ticking(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._tick()

    def _tick(self) -> None:
        """Claim slots for what there is to do, and tell the drives what is wrong."""
        if self._shares:
            wanted = self._in_flight + len(self._starting) + len(self.scheduler)
            answered = len(self._answered)
            # The share may shrink: other processes have begun to use the engine.
            self._share = self._shares.claim(wanted, self._in_flight, answered)
            if answered:
                self._shares.note_answer()
        notice = self._outage_notice()
        for progress in self.drives:
            progress.notice = notice
        self._grant_slots()

    def _outage_notice(self) -> str:
        """Return which servers are down and how many calls wait. Empty when all is well."""
        notices = [
            breaker.notice() for breaker in self._breakers.values() if breaker.is_down
        ]
        if not notices:
            return ""
        servers = "; ".join(notices)
        return f"{servers}; {len(self._held)} calls wait"


def _priced(completion: Completion, route: Route) -> Completion:
    """Return a completion with what it costs at the present prices of its server."""
    cost = route.cost(completion.usage)
    if not cost:
        return completion
    usage = completion.usage.model_copy(update={"cost": cost})
    return completion.model_copy(update={"usage": usage})
