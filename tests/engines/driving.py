"""Dialogues of a few turns, and drives of them against an engine."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from aidsafe_dagster.engines.driver.driver import Driver
from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.engines.driver.settings import DriverSettings
from aidsafe_dagster.engines.endpoint import EndpointEngine, EndpointSettings
from aidsafe_dagster.engines.journal import Journal
from aidsafe_dagster.recipe.answers import AnswerFormat, EarWhispererAnswer
from aidsafe_dagster.recipe.dialogue import (
    Completion,
    Conversation,
    Dialogue,
    DialogueTask,
    Request,
)
from aidsafe_dagster.recipe.records import Failure, Role, Stage, Usage
from tests.builders import a_prompt
from tests.recipe.speaking import a_brief

FAST = DriverSettings(backoff_s=0.001)


class ScriptedEngine:
    """Answers `{"belief": …}` unless `script` raises; counts what it is asked."""

    name = "scripted"
    simulated = False
    slots = 4
    gpus = 0

    def __init__(
        self, script: Callable[[Request, int], None] = lambda request, attempt: None
    ) -> None:
        self.script = script
        self.asked: list[tuple[str, int]] = []
        self.stages: list[str] = []
        self.running = self.peak = 0

    def model_for(self, role: Role) -> str:
        return "scripted"

    async def complete(self, request: Request, attempt: int) -> Completion:
        self.asked.append((request.prompt_id, request.turn))
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


def a_task(
    number: int,
    turns: int = 3,
    redraws: tuple[int, ...] = (),
    stage: Stage = Stage.SEED_COTS,
    start: str = "",
) -> DialogueTask[str]:
    """A row that returns what it was told, joined; `start` goes into its first question."""
    conversation = Conversation(a_brief(), stage, a_prompt(prompt_id=f"p{number}"), redraws)

    def dialogue() -> Dialogue[str]:
        said = ""
        for turn in range(turns):
            task = f"task {number} {turn} {stage} {start}"
            answer = yield from conversation.ask(
                Role.EAR_WHISPERER, task, AnswerFormat(EarWhispererAnswer, {}, {}), None
            )
            said += answer.belief
        return said

    return DialogueTask(conversation, dialogue())


def driven_over_http(
    folder: Path,
    base_url: str,
    cases: Sequence[DialogueTask[str]],
    said: list[str] | None = None,
    **settings: Any,
) -> tuple[list[str | Failure], Progress]:
    """A driver of its own against a server; `said` gets its lines for the run's log."""

    async def run() -> tuple[list[str | Failure], Progress]:
        engine = EndpointEngine(
            EndpointSettings(base_url=base_url, model="m", slots=16, timeout_s=20)
        )
        with closing(Journal(f"sqlite:///{folder / 'journal.sqlite'}")) as journal:
            log = (said if said is not None else []).append
            driver, progress = (
                Driver(engine, journal, DriverSettings(**settings), log=log),
                Progress(len(cases)),
            )
            try:
                return await driver.drive(cases, progress), progress
            finally:
                await driver.close()
                await engine.close()

    return asyncio.run(run())
