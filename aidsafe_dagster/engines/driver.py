"""The driver: runs many dialogues at once against one engine, bounded by calls in flight.

There is no barrier between turns or rows: a row that agrees early moves on while others still argue. The order is depth
first, so that rows are done as early as can be, and breadth first once few rows are left to start, so that the long
ones are not what everybody waits for at the end. A call that waits to be tried again holds no slot.
"""

import asyncio
import heapq
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

from pydantic import Field

from aidsafe_dagster.engines.journal import Journal
from aidsafe_dagster.engines.load import ServerLoad
from aidsafe_dagster.engines.protocol import Engine, Rejected, TryAgain
from aidsafe_dagster.recipe.dialogue import Case, Completion, Request
from aidsafe_dagster.recipe.errors import RowFailed, SetupError
from aidsafe_dagster.recipe.records import Failure, FailureReason, Record, Usage

T = TypeVar("T")
logger = logging.getLogger(__name__)


class DriverSettings(Record):
    calls_in_flight: int | None = Field(default=None, ge=1)
    """At most so many calls are with the engine at a time; None: as many as it has slots for."""
    max_attempts: int = Field(default=6, ge=1)
    """Attempts at one call before its row fails."""
    backoff_s: float = Field(default=1.0, ge=0)
    """Wait before the second attempt; doubled for each further one, with jitter. A server's Retry-After is obeyed."""
    max_backoff_s: float = Field(default=30.0, ge=0)


@dataclass
class Progress:
    """Counts of one run of the driver so far; `asked` are the calls that reached the engine and were answered."""

    rows: int
    rows_done: int = 0
    rows_failed: int = 0
    asked: int = 0
    replayed: int = 0
    tried_again: int = 0
    in_flight: int = 0
    peak_in_flight: int = 0
    usage: Usage = Usage()
    """Of the asked calls alone: what this run cost."""
    load: ServerLoad | None = None
    """Of the model server meanwhile, if it tells."""
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


@dataclass
class _Live(Generic[T]):
    """A row and its dialogue."""

    index: int
    case: Case[T]


async def drive(
    cases: Sequence[Case[T]],
    engine: Engine,
    journal: Journal,
    settings: DriverSettings,
    on_progress: Callable[[Progress], None] | None = None,
) -> tuple[list[T | Failure], Progress]:
    """Runs every dialogue to its end.

    Returns:
        Per case, in order, its record or its failure; and the counts.

    Raises:
        SetupError: no call can succeed (wrong key, no such model). What was answered before is in the journal.
    """
    run = _Run(cases, engine, journal, settings, on_progress)
    return await run.to_the_end(), run.progress


class _Run(Generic[T]):
    def __init__(
        self,
        cases: Sequence[Case[T]],
        engine: Engine,
        journal: Journal,
        settings: DriverSettings,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self.engine, self.journal, self.settings, self.on_progress = engine, journal, settings, on_progress
        self.progress = Progress(rows=len(cases))
        self._limit = settings.calls_in_flight or engine.slots
        self._unstarted = deque(_Live(index, case) for index, case in enumerate(cases))
        self._ready: list[tuple[int, int, _Live[T], Request]] = []
        """Heap of (row, attempt, …): requests that wait for a slot."""
        self._events: asyncio.Queue[Callable[[], None]] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._results: dict[int, T | Failure] = {}

    async def to_the_end(self) -> list[T | Failure]:
        try:
            self._fill_slots()
            while len(self._results) < self.progress.rows:
                (await self._events.get())()
                while not self._events.empty():
                    self._events.get_nowait()()
                self._fill_slots()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        return [self._results[index] for index in range(self.progress.rows)]

    def _fill_slots(self) -> None:
        while self.progress.in_flight < self._limit and (self._ready or self._unstarted):
            if self._unstarted and (not self._ready or self._breadth_first()):
                self._advance(self._unstarted.popleft(), None)
            else:
                _, attempt, live, request = heapq.heappop(self._ready)
                self._launch(live, request, attempt)

    def _breadth_first(self) -> bool:
        return len(self._unstarted) <= 2 * self._limit

    def _launch(self, live: _Live[T], request: Request, attempt: int) -> None:
        self.progress.in_flight += 1
        self.progress.peak_in_flight = max(self.progress.peak_in_flight, self.progress.in_flight)
        task = asyncio.create_task(self._call(live, request, attempt))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _call(self, live: _Live[T], request: Request, attempt: int) -> None:
        event: Callable[[], None]
        started = time.monotonic()
        try:
            completion = await self.engine.complete(request, attempt)
            key = request.key(self.engine.model_for(request.role))
            completion = self.journal.record(key, request, completion, time.monotonic() - started)
        except TryAgain as error:
            event = partial(self._try_again, live, request, attempt, error)
        except Rejected as error:
            event = partial(self._fail, live, FailureReason.REJECTED_BY_ENGINE, str(error))
        except Exception as error:  # noqa: BLE001 - handed to the main loop, which raises it
            event = partial(_raise, error)
        else:
            event = partial(self._answered, live, completion)
        self.progress.in_flight -= 1
        self._events.put_nowait(event)

    def _answered(self, live: _Live[T], completion: Completion) -> None:
        self.progress.asked += 1
        self.progress.usage += completion.usage
        self._advance(live, completion)

    def _advance(self, live: _Live[T], completion: Completion | None) -> None:
        """Takes a row as far as the journal goes; then its next request waits for a slot."""
        try:
            dialogue = live.case.dialogue
            request = next(dialogue) if completion is None else dialogue.send(completion)
            while stored := self.journal.find(request.key(self.engine.model_for(request.role))):
                self.progress.replayed += 1
                request = dialogue.send(stored)
        except StopIteration as stop:
            self._finish(live, stop.value)
        except RowFailed as failed:
            self._finish(live, live.case.conversation.failure(failed.reason, failed.detail, redraw=True))
        except SetupError:
            raise
        except Exception as error:
            logger.exception("%s: the dialogue broke", live.case.conversation.prompt.prompt_id)
            detail = f"{type(error).__name__}: {error}"
            self._finish(live, live.case.conversation.failure(FailureReason.INTERNAL_ERROR, detail, redraw=False))
        else:
            heapq.heappush(self._ready, (live.index, 0, live, request))

    def _try_again(self, live: _Live[T], request: Request, attempt: int, error: TryAgain) -> None:
        if attempt + 1 >= self.settings.max_attempts:
            self._fail(live, FailureReason.ENGINE_ERROR, f"{error} (attempt {attempt + 1}, the last)")
            return
        self.progress.tried_again += 1
        logger.debug("%s %s turn %d: %s; trying again", request.prompt_id, request.stage, request.turn, error)
        backoff = min(self.settings.backoff_s * 2**attempt, self.settings.max_backoff_s)
        wait = error.after_s if error.after_s is not None else backoff * random.uniform(0.5, 1.0)  # noqa: S311
        asyncio.get_running_loop().call_later(
            wait, self._events.put_nowait, partial(self._requeue, live, request, attempt)
        )

    def _requeue(self, live: _Live[T], request: Request, attempt: int) -> None:
        heapq.heappush(self._ready, (live.index, attempt + 1, live, request))

    def _fail(self, live: _Live[T], reason: FailureReason, detail: str) -> None:
        live.case.dialogue.close()
        self._finish(live, live.case.conversation.failure(reason, detail, redraw=False))

    def _finish(self, live: _Live[T], result: T | Failure) -> None:
        self._results[live.index] = result
        self.progress.rows_done += 1
        self.progress.rows_failed += isinstance(result, Failure)
        if self.on_progress:
            self.on_progress(self.progress)


def _raise(error: Exception) -> None:
    raise error
