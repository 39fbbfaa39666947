"""TryoutRun: the dialogues of a few prompts in a thread of their own, prompt by prompt.

The driver, the journal and the engine are those of a run. They live on the event loop of their
thread, so a tryout also works where a loop is running already, as in a notebook. Prompts come out
as they are done.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from typing import Any

from aidsafe_dagster.engines.driver.driver import Driver
from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.engines.driver.slot_shares import SlotShares
from aidsafe_dagster.engines.driver.stall_watch import StallWatch
from aidsafe_dagster.engines.journal import Journal
from aidsafe_dagster.primitives.stop_signals import received
from aidsafe_dagster.recipe.batch_recipe import HASH, StageRecipe, fingerprint_of
from aidsafe_dagster.recipe.dialogue import DialogueTask
from aidsafe_dagster.recipe.records import Prompt, Usage
from aidsafe_dagster.recipe.stages import STAGES, always_made
from aidsafe_dagster.resources.engine_from_settings import (
    make_dialogue_context,
    make_engine,
    shares_folder,
)
from aidsafe_dagster.settings.recipe_parts import recipe_parts
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.settings.servers_in_use import servers_in_use
from aidsafe_dagster.settings.snapshot import SettingsSnapshot
from aidsafe_dagster.tryout.counted_engine import CountedEngine
from aidsafe_dagster.tryout.flow import PromptFlow
from aidsafe_dagster.tryout.gates import judge_gates
from aidsafe_dagster.tryout.redraws import Redraws
from aidsafe_dagster.tryout.results import (
    BATCH,
    Spent,
    TriedPrompt,
    Tryout,
    TryoutFacts,
    tried_prompt,
)
from aidsafe_dagster.tryout.store import tryout_settings

PATIENCE_S = 60.0
"""A person waits: a server that is down for longer ends the tryout, whatever a run would do."""
_POLL_S = 0.2
_CLOSE_WITHIN_S = 2.0


class TryoutRun:
    """Iterating runs the recipe on the prompts, and yields each as soon as it is done.

    Args:
        prompts: of different ids.
        snapshot: settings, policies and templates.
        log: takes what there is to say of servers, a line at a time, in the caller's thread.
        stages: those that are made; None: all.
    """

    def __init__(
        self,
        prompts: Sequence[Prompt],
        snapshot: SettingsSnapshot,
        log: Callable[[str], None],
        stages: Collection[str] | None = None,
    ) -> None:
        self.prompts = tuple(prompts)
        self.snapshot = snapshot
        self.stages = frozenset(always_made() if stages is None else stages)
        self.seconds = 0.0
        dialogues = sum(STAGES[name].dialogue is not None for name in self.stages)
        # Each stage of a prompt is a row to the driver.
        self.progress = Progress(rows=dialogues * len(self.prompts))
        self.on_poll: Callable[[], None] = lambda: None
        """Called several times a second while it runs, in the caller's thread."""
        self._log = log
        self._events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._tried: dict[str, TriedPrompt] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None

    def __iter__(self) -> Iterator[TriedPrompt]:
        """Run.

        Raises:
            SetupError: policies or templates cannot be read, a request does not fit its server, or
                no call can succeed. What was answered is in the journal.
        """
        started = time.monotonic()
        thread = threading.Thread(target=self._work, name="tryout", daemon=True)
        thread.start()
        stall_s = self.snapshot.settings.driver.stall_s
        stall_watch = StallWatch(self.progress, stall_s, self._log)
        try:
            while True:
                event = self._next_event(stall_watch)
                if event is None:
                    return
                if isinstance(event, BaseException):
                    raise event
                if isinstance(event, TriedPrompt):
                    self._tried[event.prompt.prompt_id] = event
                    yield event
                else:
                    self._log(event)
        finally:
            self.seconds = time.monotonic() - started
            self._stop()
            thread.join(_CLOSE_WITHIN_S)

    def result(self, *, with_gates: bool = True) -> Tryout:
        """Return what came of the prompts so far, with what the gates would say."""
        tried = tuple(
            self._tried[prompt.prompt_id]
            for prompt in self.prompts
            if prompt.prompt_id in self._tried
        )
        settings = self.snapshot.settings
        engine = make_engine(tryout_settings(settings))
        suites = judge_gates(tried, self.snapshot) if with_gates else ()
        facts = TryoutFacts(
            made=datetime.now().astimezone().isoformat(timespec="seconds"),
            engine=engine.name,
            simulated=engine.simulated,
            currency=settings.currency,
            settings_hash=self.snapshot.hash,
            policies_version=self.snapshot.policies.version,
            seconds=round(self.seconds, 3),
            prompts=tuple(one.prompt for one in tried),
            spent={one.prompt.prompt_id: one.spent for one in tried},
            score_gate=settings.score_gate,
            suites=suites,
        )
        texts = _template_texts(self.snapshot)
        return Tryout(tried, facts, _recipes(self.snapshot), templates=texts)

    def _next_event(self, stall_watch: StallWatch) -> Any:
        while True:
            # Some code may have swallowed the interrupt that the signal raised.
            if received():
                raise KeyboardInterrupt
            self.on_poll()
            try:
                return self._events.get(timeout=_POLL_S)
            except queue.Empty:
                stall_watch.look()

    def _work(self) -> None:
        """Run everything, in the thread; the last event is None, or what ended it."""
        try:
            settings = self._prepare()
            asyncio.run(self._run(settings))
        except asyncio.CancelledError:
            self._events.put(None)
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            self._events.put(error)
        else:
            self._events.put(None)

    def _prepare(self) -> Settings:
        """Check servers and contexts before anything is asked; return the settings to work with."""
        settings = self.snapshot.settings
        # Raises what is wrong with them, before a server is asked.
        _ = self.snapshot.policies, self.snapshot.templates
        if settings.engine == "rehearsal" and not servers_in_use(settings):
            return settings
        from aidsafe_dagster.tryout.servers import check_servers  # noqa: PLC0415

        return check_servers(self.snapshot, self._events.put)

    async def _run(self, settings: Settings) -> None:
        self._loop = asyncio.get_running_loop()
        self._main = asyncio.current_task()
        own = tryout_settings(settings)
        journal = Journal(own.journal)
        try:
            engine = CountedEngine(make_engine(own, self._events.put))
            driver = self._make_driver(engine, journal, settings)
            try:
                await self._run_all(driver, engine)
            finally:
                await driver.close()
                await engine.close()
        finally:
            journal.close()

    def _make_driver(
        self, engine: CountedEngine, journal: Journal, settings: Settings
    ) -> Driver:
        limits = settings.driver
        patience_s = min(limits.patience_s, PATIENCE_S)
        first_answer_s = min(limits.first_answer_s, PATIENCE_S)
        changes = {"patience_s": patience_s, "first_answer_s": first_answer_s}
        shares = None
        # In the home of the project: runs that are under way use the same servers.
        folder = shares_folder(settings)
        if folder:
            shares = SlotShares(folder, limits.calls_in_flight or engine.slots)
        own_limits = limits.model_copy(update=changes)
        return Driver(engine, journal, own_limits, shares, self._events.put)

    async def _run_all(self, driver: Driver, engine: CountedEngine) -> None:
        context = make_dialogue_context(self.snapshot, engine)
        redraws = Redraws(tryout_settings(self.snapshot.settings).home)

        async def drive(task: DialogueTask[Any]) -> Any:
            results = await driver.drive([task], self.progress)
            return results[0]

        async def run(flow: PromptFlow) -> None:
            await flow.run()
            redraws.note(flow.failures.values())
            prompt_id = flow.prompt.prompt_id
            new = engine.usage.get(prompt_id, Usage())
            spent = Spent(new=new, seconds=flow.seconds)
            self._events.put(
                tried_prompt(
                    flow.prompt,
                    flow.rows,
                    list(flow.failures.values()),
                    list(flow.held_back.values()),
                    flow.candidates,
                    spent,
                    self.snapshot.settings.score_gate,
                )
            )

        settings = self.snapshot.settings
        flows = []
        for prompt in self.prompts:
            calls = redraws.of(prompt.prompt_id)
            flow = PromptFlow(prompt, settings, context, drive, self.stages, calls)
            flows.append(asyncio.create_task(run(flow)))
        try:
            await asyncio.gather(*flows)
        finally:
            for task in flows:
                task.cancel()

    def _stop(self) -> None:
        """Cancel what is under way; without effect once all is done."""
        if self._loop and self._main and not self._main.done():
            try:
                self._loop.call_soon_threadsafe(self._main.cancel)
            except RuntimeError:
                # The loop has closed meanwhile.
                return


def _template_texts(snapshot: SettingsSnapshot) -> dict[str, str]:
    texts = {}
    for stage in _recipes(snapshot):
        for digest, text in snapshot.templates.texts(stage).items():
            texts[f"{HASH}{digest}"] = text
    return texts


def _recipes(snapshot: SettingsSnapshot) -> dict[str, StageRecipe]:
    recipes = {}
    for stage, definition in STAGES.items():
        if definition.dialogue is None or definition.is_optional:
            continue
        parts = recipe_parts(snapshot, stage)
        recipes[str(stage)] = StageRecipe(
            batch=BATCH,
            stage=str(stage),
            fingerprint=fingerprint_of(parts),
            parts=parts,
        )
    return recipes
