"""Asking a model outside of a run: engine, journal and limits as in one, on a thread of its own.

What was answered once is in `<home>/<work>/journal.sqlite` (or in the journal that the settings
name) and is not asked again: a command that was killed goes on where it stopped. A question that
got no valid answer is asked again by the next command.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from aidsafe_dagster.engines.driver.driver import Driver
from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.engines.driver.slot_shares import SlotShares
from aidsafe_dagster.engines.journal import Journal
from aidsafe_dagster.engines.protocol import Engine
from aidsafe_dagster.primitives.stop_signals import received
from aidsafe_dagster.recipe.dialogue import DialogueContext, DialogueTask
from aidsafe_dagster.recipe.errors import EngineUnusable
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.policy_editor import (
    POLICY_WORK,
    EditorContext,
    editor_context,
    load_editor_templates,
)
from aidsafe_dagster.recipe.records import Failure, Role, Usage
from aidsafe_dagster.resources.engine_from_settings import (
    make_dialogue_context,
    make_engine,
    shares_folder,
)
from aidsafe_dagster.settings.role_servers import server_of
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.settings.snapshot import take_snapshot

T = TypeVar("T")
C = TypeVar("C", bound=DialogueContext)
OnPoll = Callable[[Progress], None]
PATIENCE_S = 60.0
"""A person waits: a server that is down for longer ends the command."""
_POLL_S = 0.2
_CLOSE_WITHIN_S = 2.0


@dataclass(frozen=True)
class Asked(Generic[T]):
    """The results of some dialogues, in their order, and what they took."""

    results: tuple[T | Failure, ...]
    usage: Usage
    """Of the calls that were made."""
    replayed: int
    """Calls that the journal answered."""
    model: str
    simulated: bool

    @property
    def failures(self) -> tuple[Failure, ...]:
        return tuple(one for one in self.results if isinstance(one, Failure))

    @property
    def answers(self) -> tuple[T, ...]:
        answers = []
        for result in self.results:
            if not isinstance(result, Failure):
                answers.append(result)
        return tuple(answers)


class Asker(Generic[C]):
    """Asks the models of some roles, in the context of one kind of work.

    Args:
        settings: name the engine, the roles, the limits and the journal.
        policies: what the model is shown.
        work: the folder in the home of the project that the journal is in.
        in_context: makes the context of the work from that of the stages.
        log: takes what there is to say of servers, a line at a time.
        on_poll: is called several times a second while dialogues run.
    """

    def __init__(
        self,
        settings: Settings,
        policies: Policies,
        work: str,
        in_context: Callable[[DialogueContext], C],
        log: Callable[[str], None] = lambda _: None,
        on_poll: OnPoll = lambda _: None,
    ) -> None:
        self._settings = _with_own_home(settings, work)
        self._in_context = in_context
        # Servers and tokenizer are those of the project; its own policies may be broken.
        self._snapshot = take_snapshot(settings).with_policies(policies)
        self._log = log
        self._on_poll = on_poll

    def require_servers(self, *roles: Role) -> None:
        """Ask the servers of these roles whether they answer, before the first call.

        Raises:
            EngineUnusable: one does not; in its own words.
        """
        for role in roles:
            server = server_of(self._settings, str(role))
            if server is None or self._settings.engine == "vllm":
                continue
            # It imports an HTTP client, which a rehearsal needs not.
            from aidsafe_dagster.engines.server_check import (  # noqa: PLC0415
                Verdict,
                check_server,
            )

            check = asyncio.run(check_server(server))
            if check.verdict is Verdict.UNUSABLE:
                raise EngineUnusable(f"{role}: {check.detail}")
            # Some servers list other names than those that they take.
            if check.verdict is Verdict.NO_SUCH_MODEL:
                self._log(f"{role}: {check.detail}")

    def ask(
        self, make_tasks: Callable[[C], Sequence[DialogueTask[T]]], role: Role
    ) -> Asked[T]:
        """Run dialogues to their ends.

        Args:
            make_tasks: makes them in the context that it is given.
            role: who is asked, for the name of the model.

        Raises:
            SetupError: no call can succeed. What was answered is in the journal.
            KeyboardInterrupt: a signal came. The same holds.
        """
        work = _Work(self._drive, make_tasks, role, self._log)
        work.run(self._on_poll)
        asked: Asked[T] = work.result
        return asked

    async def _drive(self, work: "_Work") -> Asked[Any]:
        settings = self._settings
        journal = Journal(settings.journal)
        try:
            engine = make_engine(settings, work.log)
            driver = self._make_driver(engine, journal, work.log)
            try:
                base = make_dialogue_context(self._snapshot, engine)
                tasks = work.make_tasks(self._in_context(base))
                work.progress = Progress(rows=len(tasks))
                results = await driver.drive(tasks, work.progress)
                # Otherwise the same command would be given the same bad answers for ever.
                journal.forget(
                    [one.prompt_id for one in results if isinstance(one, Failure)]
                )
                return Asked(
                    tuple(results),
                    work.progress.usage,
                    work.progress.replayed,
                    engine.route(str(work.role)).model,
                    engine.simulated,
                )
            finally:
                await driver.close()
                await engine.close()
        finally:
            journal.close()

    def _make_driver(
        self, engine: Engine, journal: Journal, log: Callable[[str], None]
    ) -> Driver:
        limits = self._settings.driver
        shares = None
        # In the home of the project: runs that are under way use the same servers.
        folder = shares_folder(self._snapshot.settings)
        if folder:
            shares = SlotShares(folder, limits.calls_in_flight or engine.slots)
        changes = {
            "patience_s": min(limits.patience_s, PATIENCE_S),
            "first_answer_s": min(limits.first_answer_s, PATIENCE_S),
        }
        own = limits.model_copy(update=changes)
        return Driver(engine, journal, own, shares, log)


class _Work:
    """One drive in a thread, while the caller's thread watches for signals."""

    def __init__(
        self,
        drive: Callable[["_Work"], Any],
        make_tasks: Callable[[Any], Sequence[DialogueTask[Any]]],
        role: Role,
        log: Callable[[str], None],
    ) -> None:
        self.make_tasks = make_tasks
        self.role = role
        self.progress = Progress(rows=0)
        self.result: Any = None
        self._drive = drive
        self._log = log
        self._events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None

    def log(self, line: str) -> None:
        self._events.put(line)

    def run(self, on_poll: OnPoll) -> None:
        thread = threading.Thread(target=self._work, name="asking", daemon=True)
        thread.start()
        try:
            self._wait(on_poll)
        finally:
            self._stop()
            thread.join(_CLOSE_WITHIN_S)

    def _wait(self, on_poll: OnPoll) -> None:
        while True:
            # Some code may have swallowed the interrupt that the signal raised.
            if received():
                raise KeyboardInterrupt
            on_poll(self.progress)
            try:
                event = self._events.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            if event is None:
                return
            if isinstance(event, BaseException):
                raise event
            self._log(event)

    def _work(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            self._events.put(error)
        else:
            self._events.put(None)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._main = asyncio.current_task()
        self.result = await self._drive(self)

    def _stop(self) -> None:
        """Cancel what is under way; without effect once all is done."""
        if self._loop and self._main and not self._main.done():
            try:
                self._loop.call_soon_threadsafe(self._main.cancel)
            except RuntimeError:
                # The loop has closed meanwhile.
                return


class PolicyEditor(Asker[EditorContext]):
    """Asks the model of the role `policy_editor`, or of another role, about the policies.

    Args:
        settings: as for any `Asker`.
        policies: what the model is shown; none where a document is read.
        log: as for any `Asker`.
        on_poll: as for any `Asker`.

    Raises:
        SetupError: a template is missing.
    """

    def __init__(
        self,
        settings: Settings,
        policies: Policies,
        log: Callable[[str], None] = lambda _: None,
        on_poll: OnPoll = lambda _: None,
    ) -> None:
        templates = load_editor_templates(settings.prompts)

        def in_context(base: DialogueContext) -> EditorContext:
            return editor_context(base, templates, policies)

        super().__init__(settings, policies, POLICY_WORK, in_context, log, on_poll)


def _with_own_home(settings: Settings, work: str) -> Settings:
    """Return the settings with a journal, and a record of what is planted, of this work alone."""
    home = settings.home / work
    journal = settings.journal_url or f"sqlite:///{home / 'journal.sqlite'}"
    return settings.model_copy(update={"home": home, "journal_url": journal})
