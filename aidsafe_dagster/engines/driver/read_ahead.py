"""Read-ahead: free slots run the next stages of rows that are done, while the last rows finish.

Read-ahead prefetches completions into the journal and does nothing else. When the stage itself
comes, it finds them there. Its gate, its rows and its materialization are its own. If a gate fails
in between, only the prefetched calls were wasted.

A stage that is in the journal already, as in a batch that is made again, would only be replayed
twice. So once the first rows of a stage needed no call, few of the others are tried.
"""

import logging
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any

from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.engines.driver.rows import ActiveRow, NextStage, RecordsByStage
from aidsafe_dagster.recipe.dialogue import DialogueTask
from aidsafe_dagster.recipe.records import Failure

logger = logging.getLogger(__name__)
_SAMPLE = 16
"""Rows of a stage that are read ahead before it is taken to be recorded. After them, one row in as
many is tried, in case only the first ones are."""


@dataclass(frozen=True)
class _Candidate:
    """A row that may begin at a later stage."""

    next_stage: NextStage
    records: RecordsByStage
    stages_ahead: int
    index: int

    @property
    def stage(self) -> str:
        return self.next_stage.stage

    @property
    def prompt_id(self) -> str:
        return str(next(iter(self.records.values())).prompt_id)

    def make_task(self) -> DialogueTask[Any] | None:
        """Return the row's dialogue, or None if it must not go on or cannot be built."""
        try:
            return self.next_stage.make_task(self.records)
        except Exception:
            # The step itself will meet the same defect, and report it with the row.
            logger.exception("%s: a row could not be read ahead", self.stage)
            return None


class ReadAhead:
    """Rows that may begin at later stages, the nearest stage first. Each begins once."""

    def __init__(self) -> None:
        self._candidates: dict[int, deque[_Candidate]] = {}
        """By the number of stages ahead."""
        self._begun: set[tuple[str, str]] = set()
        self._stopped_stages: set[str] = set()
        self._progress: dict[str, Progress] = {}
        self._replayed = Counter[str]()
        """Rows that ended before any call of their stage was answered."""
        self._recorded = Counter[str]()
        """Rows whose stage was taken to be recorded when their turn came."""
        self.rows: set[ActiveRow] = set()
        """Those at work."""

    def __len__(self) -> int:
        return sum(map(len, self._candidates.values()))

    @property
    def unused_calls(self) -> dict[str, int]:
        """Calls answered for stages that no step has reached, by stage."""
        return {
            stage: progress.calls_made
            for stage, progress in self._progress.items()
            if progress.calls_made
        }

    def offer(self, row: ActiveRow, record: Any) -> None:
        """Offer the stages after a row that is done."""
        stages_ahead = row.stages_ahead + 1
        records = {**row.records, row.stage: record}
        for next_stage in row.next_stages:
            candidate = _Candidate(next_stage, records, stages_ahead, row.index)
            self._candidates.setdefault(stages_ahead, deque()).append(candidate)

    def pop(self) -> ActiveRow | None:
        """Return a row to begin, or None if there is none."""
        for stages_ahead in sorted(self._candidates):
            candidates = self._candidates[stages_ahead]
            while candidates:
                row = self._make_row(candidates.popleft())
                if row is not None:
                    self.rows.add(row)
                    return row
        return None

    def hand_over(self, stage: str, progress: Progress) -> list[ActiveRow]:
        """Leave a stage to the step that has reached it.

        No more rows of the stage begin here, and its counts go to the step's progress.

        Returns:
            The rows of the stage that are at work.
        """
        for stages_ahead, candidates in self._candidates.items():
            others = [candidate for candidate in candidates if candidate.stage != stage]
            self._candidates[stages_ahead] = deque(others)
        read_ahead = self._progress.pop(stage, None)
        if read_ahead:
            progress.take_over(read_ahead)
        return [row for row in self.rows if row.stage == stage]

    def finish(self, row: ActiveRow, result: Any | Failure) -> None:
        """Go on with the stages after a row's stage, unless the row failed."""
        self.rows.discard(row)
        if not row.progress.calls_made:
            self._replayed[row.stage] += 1
        if not isinstance(result, Failure):
            self.offer(row, result)

    def stop(self, row: ActiveRow, error: Exception) -> None:
        """Stop reading a stage ahead. The step that needs it will raise the same error."""
        self.rows.discard(row)
        self._stopped_stages.add(row.stage)
        logger.info("%s is not read ahead any more: %s", row.stage, error)

    def _is_recorded(self, stage: str) -> bool:
        """Tell whether the rows of a stage have needed no call, so that others need none either."""
        progress = self._progress.get(stage)
        has_calls = progress is not None and progress.calls_made > 0
        return self._replayed[stage] >= _SAMPLE and not has_calls

    def _make_row(self, candidate: _Candidate) -> ActiveRow | None:
        stage = candidate.stage
        name = (stage, candidate.prompt_id)
        if stage in self._stopped_stages or name in self._begun:
            return None
        if self._is_recorded(stage):
            self._recorded[stage] += 1
            if self._recorded[stage] % _SAMPLE:
                return None
        # Before the task is made: a row that cannot be built is not tried again.
        self._begun.add(name)
        task = candidate.make_task()
        if task is None:
            return None
        return ActiveRow(
            index=candidate.index,
            task=task,
            progress=self._progress.setdefault(stage, Progress(rows=0)),
            owner=self,
            next_stages=candidate.next_stage.next_stages,
            stages_ahead=candidate.stages_ahead,
            records=candidate.records,
        )
