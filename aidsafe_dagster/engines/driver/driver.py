"""The driver: runs many dialogues at once against one engine, bounded by the calls in flight.

There is no barrier between turns or rows. A row that agrees early moves on while others still
argue, and slots that the last rows of a stage leave free run the next stages (`read_ahead.py`).
The driver runs the rows. What becomes of their requests is in `dispatcher.py`.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from aidsafe_dagster.engines.driver.calls import CallFailed
from aidsafe_dagster.engines.driver.dispatcher import Dispatcher
from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.engines.driver.rows import ActiveRow, NextStage
from aidsafe_dagster.engines.driver.scheduler import Scheduler
from aidsafe_dagster.engines.driver.settings import DriverSettings
from aidsafe_dagster.engines.driver.slot_shares import SlotShares
from aidsafe_dagster.engines.journal import Journal
from aidsafe_dagster.engines.protocol import Engine
from aidsafe_dagster.recipe.dialogue import Completion, DialogueTask
from aidsafe_dagster.recipe.errors import RowFailed, SetupError
from aidsafe_dagster.recipe.records import Failure, FailureReason

T = TypeVar("T")
logger = logging.getLogger(__name__)


async def drive(
    tasks: Sequence[DialogueTask[T]],
    engine: Engine,
    journal: Journal,
    settings: DriverSettings,
    on_progress: Callable[[Progress], None] | None = None,
) -> tuple[list[T | Failure], Progress]:
    """Run every dialogue to its end with a driver of its own; see `Driver.drive`."""
    driver = Driver(engine, journal, settings)
    progress = Progress(rows=len(tasks))
    try:
        results = await driver.drive(tasks, progress, on_progress=on_progress)
        return results, progress
    finally:
        await driver.close()


class Driver:
    """Lives on one event loop until it is closed, so that read-ahead goes on between two drives.

    Args:
        engine: answers the requests.
        journal: holds the completions.
        settings: of the driver.
        shares: divides the slots between processes. None: this process has all of them.
        log: takes a line when the server goes down and when it is up again.
    """

    def __init__(
        self,
        engine: Engine,
        journal: Journal,
        settings: DriverSettings,
        shares: SlotShares | None = None,
        log: Callable[[str], None] = logger.info,
    ) -> None:
        self.engine = engine
        self.settings = settings
        self._dispatcher = Dispatcher(
            engine, journal, settings, self._begin_row, shares, log
        )
        self._scheduler = self._dispatcher.scheduler
        self._row_tasks: dict[ActiveRow, asyncio.Task[None]] = {}

    @property
    def unused_calls(self) -> dict[str, int]:
        """Calls read ahead that no drive has used, by stage."""
        return self._scheduler.read_ahead.unused_calls

    async def drive(
        self,
        tasks: Sequence[DialogueTask[T]],
        progress: Progress,
        next_stages: Sequence[NextStage] = (),
        on_progress: Callable[[Progress], None] | None = None,
    ) -> list[T | Failure]:
        """Run every dialogue to its end.

        Args:
            tasks: the dialogues.
            progress: is updated meanwhile.
            next_stages: stages that may be read ahead of rows that are done.
            on_progress: is called after each row.

        Returns:
            The record or the failure of each dialogue, in order.

        Raises:
            SetupError: no call can succeed (wrong key, no such model). Earlier answers are in the
                journal.
        """
        drive = _Drive(progress, self._scheduler, on_progress)
        stages = tuple(next_stages) if self.settings.read_ahead else ()
        drive.rows = [
            ActiveRow(index, task, progress, drive, stages)
            for index, task in enumerate(tasks)
        ]
        if drive.rows:
            self._begin(drive)
            try:
                await drive.done
            finally:
                self._end(drive)
        return [drive.results[row.index] for row in drive.rows]

    async def close(self) -> None:
        """End everything that is under way. What was answered is in the journal."""
        # First of all, or the slots of the cancelled rows would go to new ones.
        self._dispatcher.stop()
        tasks = list(self._row_tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._dispatcher.close()

    def _begin(self, drive: "_Drive") -> None:
        # A row at work ahead stops, and the drive's own row joins its call or replays its answers.
        for stage in {row.stage for row in drive.rows}:
            for row in self._scheduler.read_ahead.hand_over(stage, drive.progress):
                self._cancel_row(row)
            self._dispatcher.count_for(stage, drive.progress)
        self._dispatcher.drives.append(drive.progress)
        self._scheduler.add_rows(drive.rows)
        self._dispatcher.start()

    def _end(self, drive: "_Drive") -> None:
        self._dispatcher.drives.remove(drive.progress)
        self._scheduler.remove_rows(drive.rows)
        # Rows are left over if the drive was cancelled or stopped by an error.
        for row in drive.rows:
            self._cancel_row(row)

    def _begin_row(self, row: ActiveRow) -> None:
        row.progress.rows_begun += 1
        self._row_tasks[row] = asyncio.create_task(self._run_row(row))

    def _cancel_row(self, row: ActiveRow) -> None:
        """Stop a row. Its call, if it is in flight, goes on, and the answer is recorded."""
        task = self._row_tasks.pop(row, None)
        if task:
            task.cancel()

    async def _run_row(self, row: ActiveRow) -> None:
        try:
            result = await self._run_dialogue(row)
            row.owner.finish(row, result)
        except Exception as error:  # noqa: BLE001 - raised by the drive that waits for the row
            row.owner.stop(row, error)
        finally:
            self._row_tasks.pop(row, None)
            # A cancelled dialogue still waits for its answer.
            row.task.dialogue.close()
            self._dispatcher.leave_starting_slot(row)

    async def _run_dialogue(self, row: ActiveRow) -> Any | Failure:
        """Run a dialogue to its record or failure. A defect in it fails its own row alone."""
        conversation = row.task.conversation
        dialogue = row.task.dialogue
        completion: Completion | None = None
        while True:
            try:
                # A generator that has not started takes no value.
                request = (
                    next(dialogue) if completion is None else dialogue.send(completion)
                )
            except StopIteration as end:
                return end.value
            except RowFailed as error:
                # Answers that are themselves at fault would be replayed for ever.
                return conversation.failure(
                    error.reason, error.detail, redraw=error.redraw
                )
            except SetupError:
                # It would meet every other row as well, so it stops the drive.
                raise
            except Exception as error:
                logger.exception(
                    "%s: the dialogue broke", conversation.prompt.prompt_id
                )
                detail = f"{type(error).__name__}: {error}"
                return conversation.failure(
                    FailureReason.INTERNAL_ERROR, detail, redraw=False
                )
            try:
                completion = await self._dispatcher.complete(row, request)
            except CallFailed as error:
                return conversation.failure(error.reason, str(error), redraw=False)
            row.completions += 1
            row.progress.completions += 1


class _Drive:
    """Rows that a step waits for, and their results."""

    def __init__(
        self,
        progress: Progress,
        scheduler: Scheduler,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self.progress = progress
        self._scheduler = scheduler
        self._on_progress = on_progress
        self.rows: list[ActiveRow] = []
        self.results: dict[int, Any] = {}
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def finish(self, row: ActiveRow, result: Any | Failure) -> None:
        self.results[row.index] = result
        self.progress.rows_done += 1
        self.progress.completions_of_done += row.completions
        if isinstance(result, Failure):
            self.progress.rows_failed += 1
            self.progress.failures[str(result.reason)] += 1
        else:
            self._scheduler.read_ahead.offer(row, result)
        if self._on_progress:
            self._on_progress(self.progress)
        # The drive may have been stopped by another row's error meanwhile.
        if len(self.results) == len(self.rows) and not self.done.done():
            self.done.set_result(None)

    def stop(self, row: ActiveRow, error: Exception) -> None:  # noqa: ARG002
        if not self.done.done():
            self.done.set_exception(error)
