"""Dialogues of a few turns, and a scripted engine to drive them with."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from aidsafe_dagster.engines.driver.driver import Driver
from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.engines.driver.settings import DriverSettings
from aidsafe_dagster.engines.endpoint import EndpointEngine
from aidsafe_dagster.engines.journal import Journal
from aidsafe_dagster.engines.protocol import Route
from aidsafe_dagster.engines.settings import EndpointSettings
from aidsafe_dagster.recipe.answers import AnswerFormat, EarWhispererAnswer
from aidsafe_dagster.recipe.bad_text import ACCEPT_ALL
from aidsafe_dagster.recipe.dialogue import (
    Completion,
    Conversation,
    Dialogue,
    DialogueContext,
    DialogueTask,
    Request,
)
from aidsafe_dagster.recipe.records import Failure, Role, Stage, Usage
from tests.builders import a_prompt
from tests.recipe.scripted_model import a_dialogue_context

T = TypeVar("T")
FAST = DriverSettings(backoff_s=0.001)


class ScriptedEngine:
    """Answers `{"belief": …}` unless `script` raises, and records the calls."""

    name = "scripted"
    simulated = False
    slots = 4
    gpus = 0

    def __init__(
        self, script: Callable[[Request, int], None] = lambda request, attempt: None
    ) -> None:
        self.script = script
        self.calls: list[tuple[str, int]] = []
        """Prompt and turn of each."""
        self.stages: list[str] = []
        self.running = 0
        self.peak = 0

    def route(self, speaker: str) -> Route:
        return Route(server="scripted", model="scripted", slots=self.slots)

    async def complete(self, request: Request, attempt: int) -> Completion:
        self.calls.append((request.prompt_id, request.turn))
        self.stages.append(request.stage)
        self.running += 1
        self.peak = max(self.peak, self.running)
        await asyncio.sleep(0.001)
        self.running -= 1
        self.script(request, attempt)
        return Completion(
            text=f'{{"belief": "{request.turn}"}}',
            model="scripted",
            usage=Usage(calls=1, prompt_tokens=2),
        )

    def metrics_url(self) -> str | None:
        return None

    async def close(self) -> None:
        pass


@cache
def _context() -> DialogueContext:
    """Return one for all rows, as in a run: its templates are compiled once."""
    # The server's answers are filler, and what is tested is how they are got.
    return a_dialogue_context(bad_text=ACCEPT_ALL)


def a_task(
    number: int,
    turns: int = 3,
    redraws: tuple[int, ...] = (),
    stage: Stage = Stage.SEED_COTS,
    start: str = "",
    role: Role = Role.EAR_WHISPERER,
) -> DialogueTask[str]:
    """Make a row whose record is all its answers, joined. `start` goes into its requests."""
    conversation = Conversation(
        _context(), stage, a_prompt(prompt_id=f"p{number}"), redraws
    )

    def dialogue() -> Dialogue[str]:
        answers = ""
        for turn in range(turns):
            task = f"task {number} {turn} {stage} {start}"
            answer = yield from conversation.ask(
                role, task, AnswerFormat(EarWhispererAnswer, {}, {}), None
            )
            answers += answer.belief
        return answers

    return DialogueTask(conversation, dialogue())


def some_tasks(count: int, start: int = 0) -> list[DialogueTask[str]]:
    return [a_task(number) for number in range(start, start + count)]


def drive_over_http(
    folder: Path,
    base_url: str,
    tasks: Sequence[DialogueTask[T]],
    log_lines: list[str] | None = None,
    requests_per_minute: float | None = None,
    **settings: Any,
) -> tuple[list[T | Failure], Progress]:
    """Drive dialogues against a server. `log_lines` gets the lines for the run's log."""
    lines = log_lines if log_lines is not None else []
    progress = Progress(len(tasks))

    async def run() -> tuple[list[T | Failure], Progress]:
        engine = EndpointEngine(
            EndpointSettings(
                base_url=base_url,
                model="m",
                slots=16,
                timeout_s=20,
                requests_per_minute=requests_per_minute,
            )
        )
        with closing(Journal(f"sqlite:///{folder / 'journal.sqlite'}")) as journal:
            driver = Driver(
                engine, journal, DriverSettings(**settings), log=lines.append
            )
            try:
                return await driver.drive(tasks, progress), progress
            finally:
                await driver.close()
                await engine.close()

    return asyncio.run(run())
