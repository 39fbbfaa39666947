"""The driver: runs many dialogues at once against one engine, bounded by calls in flight.

There is no barrier between turns or rows: a row that agrees early moves on while others still argue, and slots that the
last rows of a stage leave free read the next stage ahead (`readahead.py`). A call that waits to be tried again holds no
slot, a question that is already under way is not asked twice, and nothing goes on before it is in the journal.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from aidsafe_dagster.engines.driver.attempts import Attempts
from aidsafe_dagster.engines.driver.journal_writer import JournalWriter
from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.engines.driver.request_coalescing import RequestCoalescer
from aidsafe_dagster.engines.driver.rows_in_progress import (
    CallFailed,
    NextStage,
    PendingCall,
    RecordsByStage,
    RowInProgress,
)
from aidsafe_dagster.engines.driver.scheduler import Scheduler
from aidsafe_dagster.engines.driver.settings import DriverSettings
from aidsafe_dagster.engines.driver.slot_shares import SlotShares
from aidsafe_dagster.engines.journal import Journal
from aidsafe_dagster.engines.protocol import Engine
from aidsafe_dagster.recipe.dialogue import Completion, DialogueTask, Request
from aidsafe_dagster.recipe.errors import RowFailed, SetupError
from aidsafe_dagster.recipe.records import Failure, FailureReason

__all__ = ["Driver", "DriverSettings", "NextStage", "Progress", "RecordsByStage", "drive"]
T = TypeVar("T")
TICK_S = 0.25
logger = logging.getLogger(__name__)


async def drive(
    cases: Sequence[DialogueTask[T]],
    engine: Engine,
    journal: Journal,
    settings: DriverSettings,
    on_progress: Callable[[Progress], None] | None = None,
) -> tuple[list[T | Failure], Progress]:
    """Runs every dialogue to its end, with a driver of its own; see `Driver.drive`."""
    driver, progress = Driver(engine, journal, settings), Progress(rows=len(cases))
    try:
        return await driver.drive(cases, progress, on_progress=on_progress), progress
    finally:
        await driver.close()


class Driver:
    """Lives on one event loop for as long as its owner keeps it: what is read ahead goes on between two drives.

    `shares` divides the calls in flight with other processes. `log` is told when the engine goes away and comes back.
    """

    def __init__(
        self,
        engine: Engine,
        journal: Journal,
        settings: DriverSettings,
        shares: SlotShares | None = None,
        log: Callable[[str], None] = logger.info,
    ) -> None:
        self.engine, self.settings, self._shares = engine, settings, shares
        self._recorder = JournalWriter(journal)
        self._lineup = Scheduler()
        self._questions = RequestCoalescer(self._recorder, self._put, self._has_asked)
        known = shares is None or shares.answered_before
        self._attempts = Attempts(
            engine, self._recorder, settings, self._questions, self._fill_soon, log, known=known
        )
        self._drives: list[Progress] = []
        self._talks: dict[RowInProgress, asyncio.Task[None]] = {}
        self._ticking: asyncio.Task[None] | None = None
        self._starting: set[RowInProgress] = set()
        """Begun, and not yet known to ask anything of the engine: each holds a slot."""
        self._share = self._attempts.pace.most
        self._filling = self._closed = False

    @property
    def in_vain(self) -> dict[str, int]:
        """Calls read ahead, by stage, for which no drive came."""
        return self._lineup.ahead.in_vain

    async def drive(
        self,
        cases: Sequence[DialogueTask[T]],
        progress: Progress,
        then: Sequence[NextStage] = (),
        on_progress: Callable[[Progress], None] | None = None,
    ) -> list[T | Failure]:
        """Runs every dialogue to its end; `then` are the stages that may be read ahead of finished rows.

        Returns:
            Per case, in order, its record or its failure. `progress` holds the counts, meanwhile too.

        Raises:
            SetupError: no call can succeed (wrong key, no such model). What was answered before is in the journal.
        """
        following = tuple(then) if self.settings.read_ahead else ()
        work = _Drive(progress, self._lineup, on_progress)
        work.lines = [
            RowInProgress(n, case, progress, work.ended, work.broke, then=following)
            for n, case in enumerate(cases)
        ]
        if work.lines:
            self._begin(work)
            try:
                await work.over
            finally:
                self._end(work)
        return [work.results[index] for index in range(len(cases))]

    async def close(self) -> None:
        """Ends all that is under way; what was answered is in the journal."""
        self._closed = True
        tasks = [*self._talks.values(), *([self._ticking] if self._ticking else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._attempts.close()
        await self._recorder.close()
        if self._shares:
            self._shares.close()

    def _begin(self, work: "_Drive") -> None:
        stages = {line.stage for line in work.lines}
        for line in (
            line for stage in stages for line in self._lineup.ahead.take_over(stage, work.progress)
        ):
            self._drop(line)
        self._questions.count_for(stages, work.progress)
        self._drives.append(work.progress)
        self._lineup.add(work.lines)
        if self._ticking is None:
            self._ticking = asyncio.create_task(self._keep_ticking())
        self._tick()

    def _end(self, work: "_Drive") -> None:
        self._drives.remove(work.progress)
        self._lineup.withdraw(work.lines)
        for line in work.lines:
            self._drop(line)

    def _drop(self, line: RowInProgress) -> None:
        """Calls that are made already go on, and their answers are recorded."""
        if talk := self._talks.pop(line, None):
            talk.cancel()

    # -- slots

    def _fill(self) -> None:
        """Makes calls and begins rows until no slot is free."""
        self._filling = False
        limit = min(self._attempts.pace.limit, self._share)
        while not self._closed and self._attempts.in_flight + len(self._starting) < limit:
            following = self._lineup.pop(limit, begin=not self._attempts.holding)
            if following is None:
                break
            if isinstance(following, RowInProgress):
                self._start(following)
            else:
                self._attempts.launch(following)
        self._note_in_flight()

    def _fill_soon(self) -> None:
        """After those who wait for an answer just given have said what they ask next."""
        if not self._filling and not self._closed:
            self._filling = True
            asyncio.get_running_loop().call_soon(self._fill)

    def _note_in_flight(self) -> None:
        for progress in self._drives:
            progress.in_flight = self._attempts.in_flight
            progress.peak_in_flight = max(progress.peak_in_flight, self._attempts.in_flight)

    async def _keep_ticking(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._tick()

    def _tick(self) -> None:
        if self._shares:
            attempts = self._attempts
            wanted = attempts.in_flight + len(self._starting) + len(self._lineup)
            self._share = self._shares.claim(wanted, attempts.in_flight, attempts.answered)
            if attempts.answered:
                self._shares.note_answer()
        for progress in self._drives:
            progress.notice = self._attempts.notice()
        self._fill()

    # -- rows

    def _put(self, call: PendingCall) -> None:
        self._lineup.put(call)
        self._fill_soon()

    def _has_asked(self, line: RowInProgress) -> None:
        self._starting.discard(line)
        self._fill_soon()

    def _start(self, line: RowInProgress) -> None:
        self._starting.add(line)
        self._talks[line] = asyncio.create_task(self._talk(line))

    async def _talk(self, line: RowInProgress) -> None:
        try:
            line.ended(line, await self._result(line))
        except Exception as error:  # noqa: BLE001 - raised by whoever waits for the row
            line.broke(line, error)
        finally:
            self._talks.pop(line, None)
            line.case.dialogue.close()
            self._has_asked(line)

    async def _result(self, line: RowInProgress) -> Any:
        completion: Completion | None = None
        while isinstance(said := _said(line, completion), Request):
            try:
                completion = await self._questions.answer(
                    line, said, self.engine.model_for(said.role)
                )
            except CallFailed as error:
                return line.case.conversation.failure(error.reason, str(error), redraw=False)
            line.answers += 1
        return said.result


class _Drive:
    """Rows that a step waits for."""

    def __init__(
        self, progress: Progress, lineup: Scheduler, on_progress: Callable[[Progress], None] | None
    ) -> None:
        self.progress, self._lineup, self._on_progress = progress, lineup, on_progress
        self.lines: list[RowInProgress] = []
        self.results: dict[int, Any] = {}
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ended(self, line: RowInProgress, result: Any) -> None:
        self.results[line.index] = result
        self.progress.rows_done += 1
        if isinstance(result, Failure):
            self.progress.rows_failed += 1
        else:
            self._lineup.ahead.offer(line.then, {**line.trail, line.stage: result}, 1, line.index)
        if self._on_progress:
            self._on_progress(self.progress)
        if len(self.results) == len(self.lines) and not self.over.done():
            self.over.set_result(None)

    def broke(self, line: RowInProgress, error: Exception) -> None:  # noqa: ARG002
        if not self.over.done():
            self.over.set_exception(error)


@dataclass(frozen=True)
class _Ended:
    result: Any


def _said(line: RowInProgress, completion: Completion | None) -> Request | _Ended:
    """What a dialogue says to an answer: its next request, or its end. A defect in it ends its row alone."""
    conversation, dialogue = line.case.conversation, line.case.dialogue
    try:
        return next(dialogue) if completion is None else dialogue.send(completion)
    except StopIteration as stop:
        return _Ended(stop.value)
    except RowFailed as failed:
        return _Ended(conversation.failure(failed.reason, failed.detail, redraw=True))
    except SetupError:
        raise
    except Exception as error:
        logger.exception("%s: the dialogue broke", conversation.prompt.prompt_id)
        detail = f"{type(error).__name__}: {error}"
        return _Ended(conversation.failure(FailureReason.INTERNAL_ERROR, detail, redraw=False))
