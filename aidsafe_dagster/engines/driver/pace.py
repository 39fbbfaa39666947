"""Pace: how fast a drive goes, and how long it will still take."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from aidsafe_dagster.engines.driver.progress import Progress, Rates
from aidsafe_dagster.recipe.records import Usage

WINDOW_S = 20.0
"""What happened longer ago says little about what is to come: replayed answers come first, and in
no time."""
_LEAST_S = 3.0
"""A rate over less is chance."""
_LEAST_ROWS = 3
_SILENT_S = 20.0
_SILENT_TURNS = 5.0
"""So many times the usual time between two answers is silence, if it is also `_SILENT_S`."""


@dataclass(frozen=True)
class _Sample:
    at: float
    """Monotonic seconds."""
    completions: int
    replayed: int
    calls: int
    usage: Usage


class Pace:
    """Samples one drive as often as `look` is called, and keeps the latest.

    Args:
        progress: of the drive.
        clock: gives monotonic seconds.
    """

    def __init__(
        self, progress: Progress, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._progress = progress
        self._clock = clock
        # What was read ahead took no time of this drive.
        ahead = progress.usage_ahead
        first = _Sample(progress.started, 0, 0, progress.read_ahead, ahead)
        self._samples = deque([first])
        self._latest_answer = progress.started
        self._moments = 1
        """Looks that met new answers."""

    def look(self) -> None:
        """Take a sample."""
        progress = self._progress
        now = self._clock()
        sample = _Sample(
            at=now,
            completions=progress.completions,
            replayed=progress.replayed,
            calls=progress.calls_made,
            usage=progress.usage,
        )
        if sample.completions > self._samples[-1].completions:
            self._latest_answer = now
            self._moments += 1
        self._samples.append(sample)
        # The one before the window stays, since the rate spans from it.
        while len(self._samples) > 2 and self._samples[1].at < now - WINDOW_S:
            self._samples.popleft()

    @property
    def seconds_since_answer(self) -> float:
        """For how long no row has been given an answer."""
        return self._clock() - self._latest_answer

    @property
    def is_silent(self) -> bool:
        """Whether no answer has come for longer than is usual."""
        seconds = self.seconds_since_answer
        usual_s = (self._latest_answer - self._progress.started) / self._moments
        return seconds > max(_SILENT_S, _SILENT_TURNS * usual_s)

    @property
    def rates(self) -> Rates:
        """New calls and their tokens, in the latest seconds."""
        first, last = self._samples[0], self._samples[-1]
        before, now = first.usage, last.usage
        return Rates(
            calls=self._rate(last.calls - first.calls),
            tokens_in=self._rate(now.prompt_tokens - before.prompt_tokens),
            tokens_out=self._rate(now.completion_tokens - before.completion_tokens),
        )

    @property
    def seconds_left(self) -> float | None:
        """How long the drive will still take at this pace; None while nobody can tell.

        Rows are counted by the answers that they take and not as wholes, because hundreds of them
        are under way at once and end together.
        """
        if self.is_silent:
            return None
        first, last = self._samples[0], self._samples[-1]
        answers = last.completions - first.completions
        # Rows at work have had their replayed answers. All that they wait for is new.
        if self._progress.rows_begun == self._progress.rows:
            answers -= last.replayed - first.replayed
        rate = self._rate(answers)
        answers_left = self._answers_left()
        if not rate or answers_left is None:
            return None
        return answers_left / rate

    def _answers_left(self) -> float | None:
        progress = self._progress
        if progress.rows_done == progress.rows:
            return 0.0
        if progress.rows_done < min(_LEAST_ROWS, progress.rows):
            return None
        mean = progress.completions_of_done / progress.rows_done
        rows_at_work = progress.rows_begun - progress.rows_done
        given = progress.completions - progress.completions_of_done
        # The rows that end first are those that take few answers. What is at work tells as well.
        if rows_at_work:
            mean = max(mean, given / rows_at_work + 1)
        rows_left = progress.rows - progress.rows_done
        return max(mean * rows_left - given, rows_at_work)

    def _rate(self, count: int) -> float:
        first, last = self._samples[0], self._samples[-1]
        seconds = last.at - first.at
        return count / seconds if seconds >= _LEAST_S else 0.0
