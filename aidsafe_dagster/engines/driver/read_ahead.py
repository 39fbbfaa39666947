"""Reading ahead: while a stage's last rows finish, free slots run the next stages' dialogues of rows that are done.

What is answered so enters the journal and nothing else. The stage itself, when it comes, finds it there; its gate, its
rows and its materialization are its own. When a gate closes in between, the calls read ahead were in vain, and nothing
else was.
"""

import logging
from collections import deque
from collections.abc import Sequence
from typing import Any

from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.engines.driver.rows_in_progress import NextStage, RecordsByStage, RowInProgress
from aidsafe_dagster.recipe.dialogue import DialogueTask
from aidsafe_dagster.recipe.records import Failure

logger = logging.getLogger(__name__)


class ReadAhead:
    """Rows that may be begun at later stages, the nearest stage first; each is begun once."""

    def __init__(self) -> None:
        self._waiting: dict[int, deque[tuple[NextStage, RecordsByStage, int]]] = {}
        self._begun: set[tuple[str, str]] = set()
        self._closed: set[str] = set()
        self._tallies: dict[str, Progress] = {}
        self.lines: set[RowInProgress] = set()
        """Those in work."""

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    @property
    def in_vain(self) -> dict[str, int]:
        """Calls answered for stages that no step asked for yet."""
        return {stage: tally.asked for stage, tally in self._tallies.items() if tally.asked}

    def offer(
        self, then: Sequence[NextStage], trail: RecordsByStage, tier: int, index: int
    ) -> None:
        """The stages `then` may be begun with these records."""
        for following in then:
            self._waiting.setdefault(tier, deque()).append((following, trail, index))

    def take(self) -> RowInProgress | None:
        """A row to begin, None if there is none."""
        for tier in sorted(self._waiting):
            queue = self._waiting[tier]
            while queue:
                following, trail, index = queue.popleft()
                if line := self._line(following, trail, tier, index):
                    self.lines.add(line)
                    return line
        return None

    def take_over(self, stage: str, progress: Progress) -> list[RowInProgress]:
        """A step asks for the stage itself: no more of it is begun here. Returns the rows of it in work."""
        for queue in self._waiting.values():
            kept = [waiting for waiting in queue if waiting[0].stage != stage]
            queue.clear()
            queue.extend(kept)
        progress.take_over(self._tallies.pop(stage, Progress(rows=0)))
        return [line for line in self.lines if line.stage == stage]

    def _line(
        self, following: NextStage, trail: RecordsByStage, tier: int, index: int
    ) -> RowInProgress | None:
        stage, known = following.stage, next(iter(trail.values())).prompt_id
        if stage in self._closed or (stage, known) in self._begun:
            return None
        self._begun.add((stage, known))
        case = _made(following, trail)
        if case is None:
            return None
        tally = self._tallies.setdefault(stage, Progress(rows=0))
        return RowInProgress(
            index, case, tally, self._ended, self._broke, tier, following.then, trail
        )

    def _ended(self, line: RowInProgress, result: Any | Failure) -> None:
        self.lines.discard(line)
        if not isinstance(result, Failure):
            self.offer(line.then, {**line.trail, line.stage: result}, line.tier + 1, line.index)

    def _broke(self, line: RowInProgress, error: Exception) -> None:
        """The step that needs the stage will meet the same error and raise it."""
        self.lines.discard(line)
        self._closed.add(line.stage)
        logger.info("%s is not read ahead any more: %s", line.stage, error)


def _made(following: NextStage, trail: RecordsByStage) -> DialogueTask[Any] | None:
    try:
        return following.case(trail)
    except Exception:
        logger.exception("%s: a row could not be read ahead", following.stage)
        return None
