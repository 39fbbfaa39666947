"""Rows at work: the dialogue of each, and the stages that may follow it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.recipe.dialogue import DialogueTask
from aidsafe_dagster.recipe.records import Failure

RecordsByStage = Mapping[str, Any]
"""The records of one prompt so far, by stage."""


@dataclass(frozen=True)
class NextStage:
    """A stage that may be read ahead.

    `make_task` builds a row's dialogue from its earlier records, exactly as the stage itself will
    build it. It returns None for a row that must not go on.
    """

    stage: str
    make_task: Callable[[RecordsByStage], DialogueTask[Any] | None]
    next_stages: tuple["NextStage", ...] = ()


class RowOwner(Protocol):
    """Takes the outcome of a row: the drive that waits for it, or the read-ahead."""

    def finish(self, row: "ActiveRow", result: Any | Failure) -> None:
        """Take the record or the failure of a row."""
        ...

    def stop(self, row: "ActiveRow", error: Exception) -> None:
        """Stop because of an error that would meet every other row as well."""
        ...


@dataclass(eq=False)
class ActiveRow:
    """A row and its dialogue."""

    index: int
    task: DialogueTask[Any]
    progress: Progress
    owner: RowOwner
    next_stages: tuple[NextStage, ...] = ()
    stages_ahead: int = 0
    """0 when a step waits for the row, else how many stages it is read ahead."""
    records: RecordsByStage = field(default_factory=dict)
    completions: int = 0

    @property
    def stage(self) -> str:
        return self.task.conversation.stage
