"""Calls under way, and the rows that wait for them."""

import asyncio
from dataclasses import dataclass, field

from aidsafe_dagster.engines.driver.lanes import Lane
from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.engines.driver.rate_state import Send
from aidsafe_dagster.engines.driver.rows import ActiveRow
from aidsafe_dagster.engines.protocol import Route
from aidsafe_dagster.recipe.dialogue import Completion, Request
from aidsafe_dagster.recipe.records import FailureReason


class CallFailed(Exception):
    """The call cannot be answered. Its row fails, and the other rows go on."""

    def __init__(self, reason: FailureReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def _new_slot() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()


@dataclass(eq=False)
class Call:
    """A request on its way to the engine, shared by the rows that ask for the same thing.

    Mostly that is one row. It is two when a step reaches a row that is being read ahead.
    """

    key: str
    request: Request
    route: Route
    lane: Lane
    progress: Progress
    """Where the call is counted: with the row that needs it most urgently."""
    waiters: dict[ActiveRow, asyncio.Future[Completion]] = field(default_factory=dict)
    slot: asyncio.Future[None] = field(default_factory=_new_slot)
    """Resolves when the driver gives the call a slot for its next attempt."""
    is_queued: bool = True
    """The call waits for a slot and is not held back by the circuit breaker."""
    attempt: int = 0
    """Useless answers so far. The next attempt draws with another seed."""
    failed_at: list[float] = field(default_factory=list)
    """Start of each failed attempt, in monotonic seconds. None of them was rejected as busy."""
    busy: int = 0
    """How often the server was too busy, which costs no attempt."""
    send: Send | None = None
    """The present attempt, as the rate limiter has counted it."""
    error: str = ""
    """Of the latest failed attempt."""
    task: asyncio.Task[None] | None = None

    def add_waiter(self, row: ActiveRow) -> asyncio.Future[Completion]:
        """Return a future for the answer, which may also raise what the call failed with."""
        if all(row.stages_ahead < other.stages_ahead for other in self.waiters):
            self.progress = row.progress
        self.waiters[row] = asyncio.get_running_loop().create_future()
        return self.waiters[row]

    def resolve(self, completion: Completion) -> None:
        """Hand the answer to all rows that wait for it."""
        for waiter in self.waiters.values():
            if not waiter.done():
                waiter.set_result(completion)

    def fail(self, error: Exception) -> None:
        """Raise the error in all rows that wait for the answer."""
        for waiter in self.waiters.values():
            if not waiter.done():
                waiter.set_exception(error)

    def renew_slot(self) -> None:
        """Give back the used slot, so that the next attempt has to wait for another one."""
        self.slot = _new_slot()

    def rank(self, *, is_ending: bool) -> tuple[int, int, int]:
        """Return the sort key of the call: the smallest is sent first.

        While rows are left to start, earlier rows go first. Once few are left (`is_ending`), the
        rows with most work before them go first.
        """
        row = min(self.waiters, key=lambda waiter: (waiter.stages_ahead, waiter.index))
        if not is_ending:
            return (row.stages_ahead, 0, row.index)
        # The fewer calls a row has made, the more it has before it.
        lead = row.completions - row.task.extra_calls
        return (row.stages_ahead, lead, row.index)
