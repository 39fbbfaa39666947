"""RequestCoalescer: each is put to the engine once, whoever asks it, and answered from the journal ever after."""

import asyncio
from collections.abc import Callable, Container

from aidsafe_dagster.engines.driver.journal_writer import JournalWriter
from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.engines.driver.rows_in_progress import CallFailed, PendingCall, RowInProgress
from aidsafe_dagster.recipe.dialogue import Completion, Request


class RequestCoalescer:
    """Those under way, and what became of the others.

    `put` is called with a call that is to be made, `asked` with a row that waits for one.
    """

    def __init__(
        self,
        recorder: JournalWriter,
        put: Callable[[PendingCall], None],
        asked: Callable[[RowInProgress], None],
    ) -> None:
        self._recorder, self._put, self._row_asked = recorder, put, asked
        self._calls: dict[str, PendingCall] = {}
        """Under way, by key."""
        self._asked: set[str] = set()
        """Keys of the calls that were answered here."""
        self._given_up: dict[str, CallFailed] = {}
        """Calls that were read ahead to their last attempt."""

    async def answer(self, line: RowInProgress, request: Request, model: str) -> Completion:
        """From the journal, from a call that is under way already, or from the engine.

        Raises:
            CallFailed: no attempt at it is left.
            SetupError: no call can succeed.
        """
        key = request.key(model)
        if stored := await self._recorded(key):
            line.tally.replayed += key not in self._asked
            await asyncio.sleep(0)  # others have their turn
            return stored
        if line.tier == 0 and key in self._given_up:
            raise self._given_up.pop(key)
        call = self._calls.get(key)
        if call is None:
            call = self._calls[key] = PendingCall(key, request, model, line.tally, queued=True)
        return await self._awaited(line, call)

    def again(self, call: PendingCall) -> None:
        """The call's next attempt is due, if anybody still waits for it."""
        if call.waiting:
            self._put(call)
        else:
            self._calls.pop(call.key, None)

    def over(self, call: PendingCall, error: CallFailed | None) -> None:
        """The call was answered, or failed for good."""
        self._calls.pop(call.key, None)
        if error is None:
            self._asked.add(call.key)
        elif all(line.tier for line in call.waiting):
            self._given_up[call.key] = error

    def count_for(self, stages: Container[str], progress: Progress) -> None:
        """Calls of these stages that are under way count there from now on."""
        for call in self._calls.values():
            if call.request.stage in stages:
                call.tally = progress

    async def _recorded(self, key: str) -> Completion | None:
        """None for what is under way or was never asked."""
        while key not in self._calls:
            was_asked = key in self._asked
            if stored := await self._recorder.find(key):
                return stored
            if was_asked or key not in self._asked:
                return None
        return None

    async def _awaited(self, line: RowInProgress, call: PendingCall) -> Completion:
        answer = call.wait(line)
        if call.queued:
            self._put(call)
        self._row_asked(line)
        try:
            return await answer
        finally:
            call.waiting.pop(line, None)
            if call.queued and not call.waiting:
                call.queued = False
                self._calls.pop(call.key, None)
