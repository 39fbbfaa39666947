"""The path of a request: cache look-up, slot, engine, retry, record.

It reads downwards in two methods of the `Dispatcher`. `complete` serves a row: it looks the request
up in the journal, joins a call that is under way (request coalescing), or queues a new one. `_send`
serves a call: it waits for a slot, sends, decides whether to retry, and records the answer. Nothing
goes on before its answer is in the journal, and a call that backs off holds no slot. Which calls
may be sent is for their lanes to say (`lanes.py`).
"""

import asyncio
import logging
import math
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
from aidsafe_dagster.engines.driver.lanes import Lane, Server
from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.engines.driver.rate_file import RateFile
from aidsafe_dagster.engines.driver.refusals import Refusals, small_request
from aidsafe_dagster.engines.driver.retry_policy import RetryPolicy
from aidsafe_dagster.engines.driver.rows import ActiveRow
from aidsafe_dagster.engines.driver.scheduler import Scheduler
from aidsafe_dagster.engines.driver.settings import DriverSettings
from aidsafe_dagster.engines.driver.slot_shares import SlotShares, short_hash
from aidsafe_dagster.engines.driver.slow_start import SlowStart
from aidsafe_dagster.engines.journal import Entry, Journal
from aidsafe_dagster.engines.protocol import (
    Engine,
    ErrorKind,
    RequestRejected,
    RetryableError,
    Route,
)
from aidsafe_dagster.recipe.dialogue import Completion, Request
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import FailureReason

TICK_S = 0.25
_INDIFFERENT_BACKOFF_S = 2.0
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
        self._maximum = settings.calls_in_flight or engine.slots
        """Calls in flight over all processes."""
        self._retries = RetryPolicy(settings)
        self._servers: dict[str, Server] = {}
        self._breakers: dict[str, CircuitBreaker] = {}
        self._lanes: dict[tuple[str, str, str], Lane] = {}
        """By server, model, and form of the request."""

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
        self._sent: dict[Call, float] = {}
        """When each call in flight was sent, in monotonic seconds, the oldest first."""
        self._share = self._maximum
        """Calls in flight of this process."""
        self._alarm: asyncio.TimerHandle | None = None
        """Rings when a rate limit lets the next call go."""
        self._ticker: asyncio.Task[None] | None = None
        self._trouble = ""
        """What kept the latest tick from its work; empty if nothing did."""
        self._is_grant_due = False
        self._is_stopped = False

    def start(self) -> None:
        """Start to give slots to what the scheduler holds."""
        # A new drive finds out for itself whether it can succeed.
        for lane in self._lanes.values():
            lane.error = None
        # The share, the limit and an outage also change while no call ends.
        if self._ticker is None:
            self._ticker = asyncio.create_task(self._keep_ticking())
        self._tick()

    def stop(self) -> None:
        """Give out no more slots."""
        self._is_stopped = True
        if self._alarm:
            self._alarm.cancel()

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
            lane = self._lane_of(route, request)
            call = self._calls[key] = Call(key, request, route, lane, row.progress)
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
            if isinstance(error, SetupError):
                call.lane.error = error
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
        lane = call.lane
        while True:
            await call.slot
            started = time.monotonic()
            try:
                completion = await self._attempt(call)
            except RequestRejected as error:
                self._note_reply(call, started)
                await self._check_refusals(call, error)
                raise CallFailed(error.reason, str(error)) from error
            except RetryableError as error:
                self._record_failure(call, error, started)
                if error.kind is ErrorKind.REFUSED:
                    await self._check_last_refusal(call, error)
                self._check_retry_budget(call)
                backoff_s = self._backoff_s(call, error)
            else:
                self._note_reply(call, started, completion)
                lane.record_answer()
                seconds = time.monotonic() - started
                entry = Entry(call.key, call.request, completion, seconds)
                # Not `completion`: another process may have recorded the same call first.
                return await self._journal.record(entry)
            # The slot is free while the call backs off.
            self._grant_slots_soon()
            lane.server.backing_off += 1
            try:
                await asyncio.sleep(backoff_s)
            finally:
                lane.server.backing_off -= 1
            call.renew_slot()
            self._enqueue(call)

    async def _attempt(self, call: Call) -> Completion:
        """Send a call once, in the slot that it holds, and free the slot."""
        lane = call.lane
        try:
            # It would meet every other call as well, so those are not sent any more.
            if lane.error:
                raise lane.error
            # While the call waited, others may have shown whose fault its failures were.
            self._check_retry_budget(call)
            lane.breaker.check_patience()
            return await self._complete(call.request, call.attempt)
        except ServerUnavailable as error:
            raise CallFailed(FailureReason.ENGINE_ERROR, str(error)) from error
        finally:
            self._in_flight -= 1
            self._sent.pop(call, None)
            lane.in_flight -= 1
            lane.server.in_flight -= 1

    async def _complete(self, request: Request, attempt: int) -> Completion:
        try:
            return await self.engine.complete(request, attempt)
        except (RequestRejected, RetryableError, SetupError):
            raise
        except Exception as error:
            # A reply that the engine has no words for is this call's trouble, and no other's.
            logger.exception("%s: the engine broke", request.prompt_id)
            detail = f"the reply could not be read ({type(error).__name__}: {error})"
            raise RetryableError(detail) from error

    def _note_reply(
        self, call: Call, started: float, completion: Completion | None = None
    ) -> None:
        """Note an answer or a refusal, which both come from a server that is up and not busy."""
        call.lane.breaker.record_success(started)
        if call.send:
            usage = completion.usage if completion else None
            call.lane.server.note_reply(call.send, call.request, usage)

    def _record_failure(
        self, call: Call, error: RetryableError, started: float
    ) -> None:
        call.progress.retries += 1
        call.error = str(error)
        breaker = call.lane.breaker
        if error.kind is ErrorKind.UNAVAILABLE:
            call.failed_at.append(started)
            is_last = self._retries.is_last_attempt(call)
            breaker.record_failure(started, call.error, is_last_attempt=is_last)
        else:
            # A reply of any kind shows that the server is up at this moment.
            breaker.record_success(time.monotonic())
        # Another seed only after a useless answer: a lost connection says nothing about the first.
        if error.kind is ErrorKind.BAD_ANSWER:
            call.failed_at.append(started)
            call.attempt += 1
            if call.send:
                call.lane.server.note_reply(call.send, call.request)
        # The same seed again: the refusal is not about what was drawn.
        if error.kind is ErrorKind.REFUSED:
            call.failed_at.append(started)
            if call.send:
                call.lane.server.note_reply(call.send, call.request)
        # A busy server costs no attempt: the call waits.
        if error.kind is ErrorKind.RATE_LIMITED:
            call.busy += 1
            if call.send:
                call.lane.server.note_busy(call.send, error, call.lane.name)
        request = call.request
        logger.debug(
            "%s %s turn %d: attempt %d failed: %s",
            request.prompt_id,
            request.stage,
            request.turn,
            len(call.failed_at) + call.busy,
            error,
        )

    def _backoff_s(self, call: Call, error: RetryableError) -> float:
        """Return how long a call waits by itself before it is queued again."""
        # A rate limit holds all calls of its server back, and lets them go one by one.
        if error.kind is ErrorKind.RATE_LIMITED and call.lane.server.is_limited:
            return 0.0
        backoff_s = self._retries.backoff_s(call, error)
        if call.lane.server.is_indifferent and error.retry_after_s is None:
            # A longer wait would not help: the rejections depend on others.
            return min(backoff_s, _INDIFFERENT_BACKOFF_S)
        return backoff_s

    async def _check_refusals(self, call: Call, error: RequestRejected) -> None:
        """Stop the run if its server refuses every request.

        Raises:
            SetupError: it does.
        """
        lane = call.lane
        lane.refusals.record(call.request, error)
        if lane.refusals.are_first:
            raise SetupError(lane.refusals.message(lane.name, error)) from error
        if not lane.refusals.take_check():
            return
        try:
            await self._complete(small_request(call.request), 0)
        except RequestRejected as second:
            raise SetupError(lane.refusals.message(lane.name, second)) from second
        except RetryableError as second:
            if second.kind is ErrorKind.REFUSED:
                message = lane.refusals.message(lane.name, second)
                raise SetupError(message) from second
            # Nothing is known. The next refusals are checked as well.
            return

    async def _check_last_refusal(self, call: Call, error: RetryableError) -> None:
        """Take a refusal for final once the retry budget is used up.

        Raises:
            CallFailed: it is used up.
            SetupError: the server refuses every request.
        """
        if not self._retries.is_exhausted(call, call.lane.breaker):
            return
        reason = FailureReason.REJECTED_BY_ENGINE
        detail = f"{error} (attempt {len(call.failed_at)}, the last)"
        await self._check_refusals(call, RequestRejected(detail, reason))
        raise CallFailed(reason, detail)

    def _check_retry_budget(self, call: Call) -> None:
        if self._retries.is_exhausted(call, call.lane.breaker):
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

    def _lane_of(self, route: Route, request: Request) -> Lane:
        """Return the lane of a route. `request` is one that goes there."""
        key = (route.server, route.model, route.options)
        if key not in self._lanes:
            self._lanes[key] = self._make_lane(route, request)
        return self._lanes[key]

    def _make_lane(self, route: Route, request: Request) -> Lane:
        mark = " ".join((route.server, route.model, route.options))
        shares = self._shares
        # Without shares, nobody remembers.
        has_answered = shares is None or shares.answered_before(mark)
        server = self._server_of(route)
        return Lane(
            name=self._lane_name(route),
            server=server,
            breaker=self._breaker_of(route, request, has_answered=has_answered),
            slow_start=SlowStart(server.slots, has_answered=has_answered),
            refusals=Refusals(was_answered_before=shares is not None and has_answered),
            note_first_answer=partial(shares.note_answer, mark) if shares else _ignore,
        )

    def _lane_name(self, route: Route) -> str:
        if route.server == self.engine.name:
            return f"the {route.server} engine ({route.model})"
        return f"the server {route.server} ({route.model})"

    def _server_of(self, route: Route) -> Server:
        if route.server not in self._servers:
            rate_file = None
            if self._shares:
                name = f"rate-{short_hash(route.server)}.json"
                rate_file = RateFile(self._shares.folder / name)
            # More calls in flight than slots are for the servers in proportion.
            scale = max(1.0, self._maximum / max(1, self.engine.slots))
            server = Server(route, scale, self.settings.patience_s, rate_file)
            server.sync()
            self._servers[route.server] = server
        return self._servers[route.server]

    def _breaker_of(
        self, route: Route, request: Request, *, has_answered: bool
    ) -> CircuitBreaker:
        """Return the circuit breaker of a model, as models may be on different servers."""
        # Models of one server may fail apart from each other, as adapters do.
        name = self._lane_name(route)
        if name not in self._breakers:
            self._breakers[name] = CircuitBreaker(
                name=name,
                probe=partial(probe, self.engine, request.role, request.agent),
                patience_s=self.settings.patience_s,
                first_answer_s=None if has_answered else self.settings.first_answer_s,
                on_release=partial(self._release_held, name),
                log=self._log,
            )
        return self._breakers[name]

    def _release_held(self, name: str, is_after_outage: bool) -> None:
        """Queue all held calls. Those whose circuit is still open are held again."""
        # All held calls at once would bring a recovering server down again.
        if is_after_outage:
            for lane in self._lanes.values():
                if lane.breaker.name == name:
                    lane.slow_start.restart()
        # Emptied first, since a call whose circuit is still open comes back into the list.
        held, self._held = self._held, []
        for call in held:
            self._enqueue(call)

    def _grant_slots(self) -> None:
        """Give free slots to queued calls and to rows that have not begun."""
        self._is_grant_due = False
        limit = self._share
        while not self._is_stopped and self._in_flight + len(self._starting) < limit:
            may_begin_row = self._may_begin_row()
            item = self.scheduler.pop(limit, _is_ready, may_begin_row=may_begin_row)
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
        self._set_alarm()

    def _may_begin_row(self) -> bool:
        """Return whether one more row may begin. It would only wait while calls wait."""
        if self._held:
            return False
        if not self._servers:
            return True
        # Rows that wait for one of several servers may pile up to its slots, so that it has work
        # when it is ready again.
        is_only = len(self._servers) == 1
        for lane in self._lanes.values():
            waiting = self.scheduler.queued(lane)
            is_enough = is_only or waiting >= lane.server.slots
            if waiting and is_enough and not lane.is_ready:
                return False
        # Nobody knows which server a row will need first.
        free = max(server.allowance() for server in self._servers.values())
        return free > len(self._starting)

    def _grant_slot(self, call: Call) -> None:
        lane = call.lane
        call.send = lane.server.try_send(call.request)
        if call.send is None:
            # Another process has been quicker.
            self.scheduler.put(call)
            return
        self._in_flight += 1
        self._sent[call] = time.monotonic()
        lane.in_flight += 1
        lane.server.in_flight += 1
        call.slot.set_result(None)
        # A call that is retried still has the task of its first attempt.
        if call.task is None:
            call.task = asyncio.create_task(self._run_call(call))
            # asyncio itself keeps only weak references to tasks.
            self._call_tasks.add(call.task)
            call.task.add_done_callback(self._call_tasks.discard)

    def _set_alarm(self) -> None:
        """Come back when a rate limit lets the next call go."""
        if self._alarm:
            self._alarm.cancel()
            self._alarm = None
        if self._is_stopped or not len(self.scheduler):
            return
        waits = [
            server.wait_s() for server in self._servers.values() if server.is_limited
        ]
        # Those that need not wait are full, and the end of a call lets the next one go.
        waits = [wait for wait in waits if wait > 0]
        if waits:
            loop = asyncio.get_running_loop()
            self._alarm = loop.call_later(min(waits), self._grant_slots)

    def _grant_slots_soon(self) -> None:
        """Grant slots once the rows that were just answered have queued their next calls."""
        # One grant serves all calls that end in the same turn of the event loop.
        if not self._is_grant_due and not self._is_stopped:
            self._is_grant_due = True
            asyncio.get_running_loop().call_soon(self._grant_slots)

    def _must_hold(self, call: Call) -> bool:
        """Return whether the circuit of a call is open. A call about to fail need not wait."""
        breaker = call.lane.breaker
        return breaker.is_holding and not self._retries.is_exhausted(call, breaker)

    def leave_starting_slot(self, row: ActiveRow) -> None:
        """Free the slot that a row holds from its beginning until it needs the engine."""
        self._starting.discard(row)
        self._grant_slots_soon()

    def _note_in_flight(self) -> None:
        oldest_sent = next(iter(self._sent.values()), None)
        for progress in self.drives:
            progress.in_flight = self._in_flight
            progress.oldest_sent = oldest_sent
            progress.peak_in_flight = max(progress.peak_in_flight, self._in_flight)

    async def _keep_ticking(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._tick()

    def _tick(self) -> None:
        """Look after the slots. What goes wrong is logged once, shown, and tried again."""
        try:
            self._look_after_slots()
        except Exception as error:
            # Without ticks the run would stand still and nobody would know why.
            trouble = f"the driver cannot look after its slots: {error}"
            if not self._trouble:
                logger.exception("the driver cannot look after its slots")
                self._log(f"{trouble}; trying again")
            self._trouble = trouble
        else:
            if self._trouble:
                self._log("the driver looks after its slots again")
            self._trouble = ""
        notice = self._notice()
        for progress in self.drives:
            progress.notice = notice
            progress.ticked = time.monotonic()

    def _look_after_slots(self) -> None:
        """Claim slots for what there is to do, and give them out."""
        if self._shares:
            wanted = self._in_flight + len(self._starting) + len(self.scheduler)
            answered = len(self._answered)
            # The share may shrink: other processes have begun to use the engine.
            self._share = self._shares.claim(wanted, self._in_flight, answered)
        for server in self._servers.values():
            server.cap = math.ceil(server.slots * self._share / self._maximum)
            server.sync()
        self._grant_slots()

    def _notice(self) -> str:
        """Return why calls wait. Empty when all is well."""
        notices = [text for text in (self._trouble, self._journal.trouble) if text]
        for breaker in self._breakers.values():
            if breaker.is_down:
                notices.append(f"{breaker.notice()}; {len(self._held)} calls wait")
        for server in self._servers.values():
            waiting = server.backing_off
            for lane in self._lanes.values():
                if lane.server is server:
                    waiting += self.scheduler.queued(lane)
            notice = server.notice(waiting)
            # An outage is told above, with its error.
            if not notice and not notices:
                notice = server.silence(time.monotonic())
            if notice:
                notices.append(notice)
        return "; ".join(notices)


def _is_ready(lane: Lane) -> bool:
    return lane.is_ready


def _ignore() -> None:
    pass


def _priced(completion: Completion, route: Route) -> Completion:
    """Return a completion with what it costs at the present prices of its server."""
    cost = route.cost(completion.usage)
    if not cost:
        return completion
    usage = completion.usage.model_copy(update={"cost": cost})
    return completion.model_copy(update={"usage": usage})
