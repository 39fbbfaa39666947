"""What a run of this process is at, on the terminal while it goes on.

A terminal shows a few lines that are drawn again twice a second and with each stage. Where there
is none, a plain line comes now and then. Both are written past Dagster, which captures the output
of every step.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from io import UnsupportedOperation
from typing import Literal

import dagster as dg
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from aidsafe_dagster.cli.console import console, make_console, quantity
from aidsafe_dagster.engines.driver.pace import Pace
from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.engines.prices import format_money
from aidsafe_dagster.recipe.records import Usage
from aidsafe_dagster.recipe.stages import STAGES
from aidsafe_dagster.reports.outlook import Outlook
from aidsafe_dagster.stages.progress_log import (
    Reading,
    describe_rates,
    describe_seconds,
    describe_time_left,
    watched_by,
)

REDRAWN_PER_S = 2
LINE_EVERY_S = 30.0
"""Where there is no terminal."""
_BAR_WIDTH = 28
_OUTCOMES: dict[dg.DagsterEventType, Literal["done", "stopped"]] = {
    dg.DagsterEventType.RUN_SUCCESS: "done",
    dg.DagsterEventType.RUN_FAILURE: "stopped",
    dg.DagsterEventType.RUN_CANCELED: "stopped",
}


@dataclass
class LiveRun:
    """A run of this process, as its events and the readings of its steps tell.

    Events and readings come from the run's thread, and another one draws.

    Args:
        title: of the run: its batch.
        place: of the batch among those of the command, such as `2 of 4`; empty for a single one.
        stages: those that the run makes.
        prompts: of the batch.
        outlook: what they are likely to cost.
        currency: of the prices; empty if no server has prices.
    """

    title: str
    place: str
    stages: tuple[str, ...]
    prompts: int
    outlook: Outlook
    currency: str
    started: float = field(default_factory=time.monotonic)
    outcome: Literal["", "done", "stopped"] = ""
    """Empty while it goes on."""
    step: str = ""
    """That is being made or checked."""
    is_checking: bool = False
    reading: Reading | None = None
    """Of the step, once it asks a model."""
    _begun: list[str] = field(default_factory=list)
    _spent: Usage = Usage()
    """Of the drives that are over."""

    def note_event(self, event: dg.EventLogEntry) -> None:
        """Take an event of the run."""
        happened = event.dagster_event
        if happened is None:
            return
        if happened.event_type in _OUTCOMES:
            self.outcome = _OUTCOMES[happened.event_type]
            self.reading = None
        if happened.step_key is None:
            return
        if happened.event_type is dg.DagsterEventType.STEP_START:
            self.note_step(happened.step_key)
        if happened.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION:
            self.is_checking = True
            self.reading = None

    def note_reading(self, reading: Reading) -> None:
        """Take a reading of a step of the run."""
        self.reading = reading
        if reading.is_over:
            self._spent += reading.progress.usage

    def note_step(self, step: str) -> None:
        """Take the beginning of a step."""
        # A stage and its checks are steps of one name, or steps of other names within the stage.
        if step in STAGES and step not in self._begun:
            self._begun.append(step)
        self.step = step
        self.is_checking = step not in STAGES and bool(self._begun)
        self.reading = None

    @property
    def stage(self) -> str:
        """The stage that is being made, or whose checks are under way."""
        return self._begun[-1] if self._begun else self.step

    @property
    def spent(self) -> Usage:
        """What the run has cost so far."""
        if self.reading is None or self.reading.is_over:
            return self._spent
        return self._spent + self.reading.progress.usage

    def heading(self) -> str:
        """Return the run, the stage, and the time since it began."""
        parts = [self.title]
        if self.place:
            parts.append(f"batch {self.place}")
        if self.outcome == "done":
            parts.append(quantity(len(self._begun), "stage"))
        elif self._begun:
            place = f"{len(self._begun)} of {max(len(self.stages), len(self._begun))}"
            at = "stopped at " if self.outcome else ""
            parts.append(f"{at}stage {place}: {self.stage}")
        elif self.step:
            parts.append(self.step)
        parts.append(describe_seconds(time.monotonic() - self.started))
        return " · ".join(parts)

    def rows_line(self) -> str:
        """Return what has become of the rows of the stage, and how long it will still take."""
        if self.outcome:
            return f"{quantity(self.prompts, 'prompt')}, {self.outcome}"
        if self.reading is None:
            return "checks" if self.is_checking else "reading and writing"
        progress = self.reading.progress
        line = f"{progress.rows_done} of {progress.rows} rows"
        return f"{line}, {_time_left(progress, self.reading.pace)}"

    def failures_line(self) -> str:
        """Return the failed rows by reason; empty if none failed."""
        if self.reading is None or not self.reading.progress.rows_failed:
            return ""
        progress = self.reading.progress
        reasons = [f"{count} {name}" for name, count in progress.failures.most_common()]
        return f"{progress.rows_failed} failed: {', '.join(reasons)}"

    def calls_line(self) -> str:
        """Return the calls of the stage; empty while there are none."""
        if self.reading is None:
            return ""
        progress = self.reading.progress
        line = f"{quantity(progress.in_flight, 'call')} in flight"
        if progress.oldest_call_s is not None and progress.in_flight:
            line += f", the oldest for {describe_seconds(progress.oldest_call_s)}"
        line += f"; {progress.calls_made:,} answered, {progress.replayed:,} replayed"
        if progress.retries:
            line += f", {progress.retries:,} tried again"
        return line

    def tokens_line(self) -> str:
        """Return tokens a second and money; empty while nothing was asked, and at the end."""
        parts: list[str] = []
        if self.outcome:
            return ""
        if self.reading and self.reading.progress.usage.prompt_tokens:
            parts.append(describe_rates(self.reading.pace.rates, self.reading.progress))
        if self.currency:
            parts.append(self._money())
        return "; ".join(parts)

    def notice(self) -> str:
        """Return why calls wait; empty when all is well."""
        return self.reading.progress.notice if self.reading else ""

    def line(self) -> str:
        """Return all of it as one line, for where there is no terminal."""
        parts = (
            self.heading(),
            self.rows_line(),
            self.failures_line(),
            self.calls_line(),
            self.tokens_line(),
            self.notice(),
        )
        return "; ".join(part for part in parts if part)

    def drawn(self) -> Group:
        """Return all of it as a few lines of a terminal."""
        heading = Text(self.heading(), style="bold")
        if self.outcome == "stopped":
            return Group(heading)
        row = Table.grid(padding=(0, 1))
        row.add_row(self._bar(), Text(self.rows_line()))
        lines: list[Table | Text] = [heading, row]
        for text, style in (
            (self.failures_line(), "red"),
            (self.calls_line(), ""),
            (self.tokens_line(), ""),
            (self.notice(), "yellow"),
        ):
            if text:
                lines.append(Text(text, style=style))
        return Group(*lines)

    def _bar(self) -> Text:
        """Return the bar of the stage, which is full when all its rows are done."""
        if self.reading is None:
            return _bar(int(self.is_checking or self.outcome == "done"), 1)
        progress = self.reading.progress
        return _bar(progress.rows_done, progress.rows)

    def _money(self) -> str:
        spent = self.spent.cost
        line = f"{format_money(spent, self.currency)} so far"
        expected = self._expected_cost()
        if expected is None:
            return line
        return f"{line}, about {format_money(expected, self.currency)} for the batch"

    def _expected_cost(self) -> float | None:
        """Return what the run is likely to cost in all, None while nobody can tell."""
        not_begun = [stage for stage in self.stages if stage not in self._begun]
        later = self.outlook.cost_of(not_begun, self.prompts)
        if later is None:
            return None
        rest = 0.0
        if self.reading is not None and not self.reading.is_over:
            progress = self.reading.progress
            if not progress.rows_done:
                return None
            rest = progress.usage.cost * (progress.rows / progress.rows_done - 1)
        return self.spent.cost + rest + later


@contextmanager
def on_screen(run: LiveRun) -> Iterator[Callable[[dg.EventLogEntry], None]]:
    """Show a run while the block lasts, which gives the function to call with its events."""
    with ExitStack() as stack:
        terminal = stack.enter_context(_past_capture())
        stack.enter_context(watched_by(run.note_reading))
        if not terminal.is_terminal:
            stack.enter_context(_lines(run, terminal))
            yield run.note_event
            return
        live = stack.enter_context(_drawn(run, terminal))

        def note_and_draw(event: dg.EventLogEntry) -> None:
            before = run.stage
            run.note_event(event)
            # A stage that is over at once is seen, too.
            if run.stage != before:
                live.refresh()

        yield note_and_draw


@contextmanager
def _past_capture() -> Iterator[Console]:
    """Give a console whose output Dagster does not capture.

    Dagster puts a file in the place of descriptor 1 during each step, so this is another one.
    """
    try:
        descriptor = os.dup(sys.stdout.fileno())
    except (OSError, UnsupportedOperation, ValueError):
        # Output that goes to no file is not captured.
        yield console
        return
    with os.fdopen(descriptor, "w", encoding=sys.stdout.encoding) as file:
        yield make_console(file)


@contextmanager
def _drawn(run: LiveRun, terminal: Console) -> Iterator[Live]:
    with Live(
        console=terminal,
        get_renderable=run.drawn,
        refresh_per_second=REDRAWN_PER_S,
        # The last frame stays: of a finished run, a full bar.
        transient=False,
        # Output of others is captured anyhow.
        redirect_stdout=False,
        redirect_stderr=False,
    ) as live:
        yield live


@contextmanager
def _lines(run: LiveRun, terminal: Console) -> Iterator[None]:
    is_over = threading.Event()

    def print_lines() -> None:
        while not is_over.wait(LINE_EVERY_S):
            terminal.print(run.line(), markup=False, highlight=False, soft_wrap=True)
            terminal.file.flush()

    thread = threading.Thread(target=print_lines, name="progress lines", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _bar(done: int, total: int) -> Text:
    """Return a bar that shows how full it is without colours, too."""
    width = _BAR_WIDTH * done // max(total, 1)
    return Text.assemble(("█" * width, "cyan"), ("░" * (_BAR_WIDTH - width), "dim"))


def _time_left(progress: Progress, pace: Pace) -> str:
    if progress.rows_done == progress.rows:
        return "done"
    return describe_time_left(pace)
