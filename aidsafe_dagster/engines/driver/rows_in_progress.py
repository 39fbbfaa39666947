"""Rows in work, and the calls that they wait for."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.recipe.dialogue import Completion, DialogueTask, Request
from aidsafe_dagster.recipe.records import Failure, FailureReason

RecordsByStage = Mapping[str, Any]
"""The records of one prompt so far, by stage."""


class CallFailed(Exception):
    """No attempt at a call is left."""

    def __init__(self, reason: FailureReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True)
class NextStage:
    """A stage that may be read ahead.

    `case` makes a row's dialogue from the records before it, just as the stage itself will, or None where the row has
    to stop; `then` are the stages after it.
    """

    stage: str
    case: Callable[[RecordsByStage], DialogueTask[Any] | None]
    then: tuple["NextStage", ...] = ()


@dataclass(eq=False)
class RowInProgress:
    """A row and its dialogue. `tier` is 0 when a step waits for it, else how many stages it is read ahead."""

    index: int
    case: DialogueTask[Any]
    tally: Progress
    ended: Callable[["RowInProgress", Any | Failure], None]
    broke: Callable[["RowInProgress", Exception], None]
    tier: int = 0
    then: tuple[NextStage, ...] = ()
    trail: RecordsByStage = field(default_factory=dict)
    answers: int = 0

    @property
    def stage(self) -> str:
        return self.case.conversation.stage


@dataclass(eq=False)
class PendingCall:
    """A question that the engine has to answer, and the rows that wait for it: one, or two when one is read ahead."""

    key: str
    request: Request
    model: str
    tally: Progress
    waiting: dict[RowInProgress, asyncio.Future[Completion]] = field(default_factory=dict)
    attempt: int = 0
    """Answers so far that were of no use; the next attempt draws with another seed."""
    failed_at: list[float] = field(default_factory=list)
    """When the attempts that failed had begun, in monotonic seconds."""
    error: str = ""
    """The latest."""
    queued: bool = False

    def wait(self, line: RowInProgress) -> asyncio.Future[Completion]:
        """Resolves when the call is answered, or raises what it failed with. A call is counted where it is urgent."""
        if all(line.tier < other.tier for other in self.waiting):
            self.tally = line.tally
        self.waiting[line] = asyncio.get_running_loop().create_future()
        return self.waiting[line]

    def resolve(self, completion: Completion) -> None:
        for waiter in self.waiting.values():
            if not waiter.done():
                waiter.set_result(completion)

    def fail(self, error: Exception) -> None:
        for waiter in self.waiting.values():
            if not waiter.done():
                waiter.set_exception(error)

    def rank(self, *, ending: bool) -> tuple[int, int, int]:
        """Smaller goes first. With few rows left to start, who has most still to do does."""
        lead = min(self.waiting, key=lambda line: (line.tier, line.index), default=None)
        if lead is None:
            return (1 << 20, 0, 0)
        return (lead.tier, lead.answers - lead.case.extra_calls if ending else 0, lead.index)
