"""The judge of the rewards: the recipe's grading, through the engine, the journal and its limits.

It works in a thread with an event loop of its own, so that it can be called from a trainer, a
notebook, or several trainers' processes at once. What was graded once is in the journal, and is
not asked again, in this run or in the next.
"""

import asyncio
import logging
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, NamedTuple, TypeVar

from aidsafe_dagster.engines.driver.driver import Driver
from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.engines.driver.slot_shares import SlotShares
from aidsafe_dagster.engines.journal import Journal
from aidsafe_dagster.engines.protocol import Engine
from aidsafe_dagster.recipe.cot_grades import GradingSettings
from aidsafe_dagster.recipe.dialogue import (
    Conversation,
    Dialogue,
    DialogueContext,
    DialogueTask,
)
from aidsafe_dagster.recipe.judging import Subject, grade, to_grade
from aidsafe_dagster.recipe.records import (
    Failure,
    Grade,
    Message,
    Prompt,
    Stage,
    as_text,
)
from aidsafe_dagster.resources.engine_from_settings import (
    make_dialogue_context,
    make_engine,
    shares_folder,
)
from aidsafe_dagster.rewards.completion import ReadCompletion
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.settings.snapshot import take_snapshot
from aidsafe_dagster.sources.duplicates import prompt_id

_SOURCE = "rewards"
_CLOSE_WITHIN_S = 10.0
T = TypeVar("T")
logger = logging.getLogger(__name__)


class Question(NamedTuple):
    turns: tuple[Message, ...]
    """The prompt, and the turns before it."""
    completion: ReadCompletion


Verdict = tuple[Grade, ...]
"""By judge."""


class RewardJudge:
    """Grades completions by the policies of the settings.

    Args:
        settings: name the judge, its server and limits, the policies and the journal. The grades
            are kept in `<home>/rewards/journal.sqlite`, or in the journal that the settings name.

    Raises:
        SetupError: policies, templates or engine are no good.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._snapshot = take_snapshot(settings)
        self._grading: GradingSettings = settings.grading
        # Raises what is wrong with them, before a trainer loads its model.
        make_dialogue_context(self._snapshot, make_engine(settings))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="rewards", daemon=True
        )
        self._thread.start()
        self._engine: Engine | None = None
        self._journal: Journal | None = None
        self._driver: Driver | None = None
        self._context: DialogueContext | None = None

    def grade(self, questions: Sequence[Question]) -> list[Verdict | None]:
        """Return the grades of each completion, None where the judge gave no valid answer.

        Raises:
            SetupError: no call can succeed (server away, wrong key, no such model).
        """
        return self._wait(self._grade(questions))

    def close(self) -> None:
        """Close engine and journal. It cannot grade any more after it."""
        if self._loop.is_closed():
            return
        self._wait(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSE_WITHIN_S)
        self._loop.close()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _grade(self, questions: Sequence[Question]) -> list[Verdict | None]:
        driver, context = self._started()
        # The same completion twice is one question: a group often holds several.
        unique = list(dict.fromkeys(questions))
        tasks = [self._task(question, context) for question in unique]
        results = await driver.drive(tasks, Progress(rows=len(tasks)))
        verdicts: dict[Question, Verdict | None] = {}
        for question, result in zip(unique, results, strict=True):
            if isinstance(result, Failure):
                logger.warning("no reward: %s: %s", result.reason, result.detail)
                verdicts[question] = None
            else:
                verdicts[question] = result
        return [verdicts[question] for question in questions]

    def _started(self) -> tuple[Driver, DialogueContext]:
        """Return what answers, made on this thread's loop at the first call."""
        if self._driver is None or self._context is None:
            settings = self._settings
            engine = make_engine(settings, logger.info)
            folder = settings.home / "rewards"
            folder.mkdir(parents=True, exist_ok=True)
            url = settings.journal_url or f"sqlite:///{folder / 'journal.sqlite'}"
            journal = Journal(url)
            shares = None
            shared = shares_folder(settings)
            if shared:
                limit = settings.driver.calls_in_flight or engine.slots
                shares = SlotShares(shared, limit)
            self._engine, self._journal = engine, journal
            self._driver = Driver(engine, journal, settings.driver, shares, logger.info)
            self._context = make_dialogue_context(self._snapshot, engine)
        return self._driver, self._context

    def _task(
        self, question: Question, context: DialogueContext
    ) -> DialogueTask[Verdict]:
        (*earlier, last) = question.turns
        prompt = Prompt(
            prompt_id=prompt_id(as_text(question.turns)),
            batch=_SOURCE,
            source=_SOURCE,
            source_row="",
            category="",
            licence="",
            prompt=last.content,
            earlier=tuple(earlier),
        )
        conversation = Conversation(context, Stage.COT_GRADES, prompt)
        completion = question.completion
        subject = Subject("rejected", completion.thoughts, completion.response)

        def dialogue() -> Dialogue[Verdict]:
            grades = []
            for judge in self._grading.roles:
                answer = yield from grade(
                    conversation, judge, subject, self._grading.temperature
                )
                model = conversation.models[-1]
                grades.append(to_grade(answer, "rejected", judge, model))
            return tuple(grades)

        return DialogueTask(conversation, dialogue())

    async def _close(self) -> None:
        if self._driver is not None:
            await self._driver.close()
        if self._engine is not None:
            await self._engine.close()
        if self._journal is not None:
            self._journal.close()
