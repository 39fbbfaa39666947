"""The engine as a Dagster resource: what answers the agents, with the journal in front of it.

The first step that needs an engine opens it, and it is closed when the run ends; the model server
outlives both.
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TypeVar

import dagster as dg
from pydantic import PrivateAttr

from aidsafe_dagster.engines.driver.background_driver import BackgroundDriver
from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.engines.driver.rows import NextStage
from aidsafe_dagster.recipe.deliberated_cots import DeliberationSettings
from aidsafe_dagster.recipe.dialogue import DialogueContext, DialogueTask
from aidsafe_dagster.recipe.errors import EngineUnusable, SetupError
from aidsafe_dagster.recipe.records import Failure
from aidsafe_dagster.resources.context_preflight import (
    known_lengths,
    with_known_lengths,
)
from aidsafe_dagster.resources.engine_from_settings import (
    make_dialogue_context,
    make_engine,
    shares_folder,
)
from aidsafe_dagster.resources.planned_contexts import check_planned_contexts
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.resources.vllm import VLLMResource
from aidsafe_dagster.runs.batch_claims import claim_of
from aidsafe_dagster.runs.dagster_internals import PARTITION_NAME_TAG
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.settings.snapshot import SettingsSnapshot

T = TypeVar("T")


class EngineResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Drives dialogues against the engine of the settings; every completion is journaled."""

    settings: dg.ResourceDependency[SettingsResource]
    vllm: dg.ResourceDependency[VLLMResource]
    _driver: BackgroundDriver | None = PrivateAttr(default=None)
    _driver_settings: Settings | None = PrivateAttr(default=None)
    _is_in_run: bool = PrivateAttr(default=False)
    _batch: str | None = PrivateAttr(default=None)
    _unusable: EngineUnusable | None = PrivateAttr(default=None)
    _checked: list[tuple[Settings, frozenset[str]]] = PrivateAttr(default_factory=list)
    _context_lengths: dict[str, int] = PrivateAttr(default_factory=dict)

    @property
    def snapshot(self) -> SettingsSnapshot:
        """The settings of this run, with what the launchpad changes of the vLLM server."""
        snapshot = self.settings.snapshot
        settings = snapshot.settings
        vllm = self.vllm.in_force(settings.vllm, settings.launchpad)
        return snapshot.with_settings(vllm=vllm)

    def dialogue_context(self) -> DialogueContext:
        """Return what every dialogue of this run is given."""
        snapshot = self.snapshot
        # This engine only gives its name. The driver makes the one that answers.
        return make_dialogue_context(snapshot, make_engine(snapshot.settings))

    def check_context(
        self,
        stages: Collection[str],
        log: Callable[[str], None],
        deliberation: DeliberationSettings | None = None,
    ) -> None:
        """Check that the requests of some stages fit their servers, once for each stage.

        Args:
            stages: those that the run is going to make.
            log: called with a line about what may not fit or cannot be checked.
            deliberation: in place of that of the settings.

        Raises:
            SetupError: a request of usual length would not fit, or the target's server cannot do
                what the position of the belief asks of it.
        """
        snapshot = self.snapshot
        if deliberation:
            snapshot = snapshot.with_settings(deliberation=deliberation)
        settings = snapshot.settings
        names = frozenset(stages)
        for checked_settings, checked_names in self._checked:
            if checked_settings == settings and names <= checked_names:
                return
        findings, warnings = check_planned_contexts(snapshot, names)
        for warning in warnings:
            log(warning)
        self._context_lengths.update(known_lengths(findings))
        self._checked.append((settings, names))

    def drive(
        self,
        tasks: Sequence[DialogueTask[T]],
        on_progress: Callable[[Progress], None],
        log: Callable[[str], None],
        then: Sequence[NextStage] = (),
    ) -> tuple[list[T | Failure], Progress]:
        """Run the dialogues to their ends; see `engines.driver`.

        Args:
            tasks: the rows' dialogues.
            on_progress: called every half second.
            log: called with a line when a server starts, goes away or comes back.
            then: stages that may be read ahead from rows that are done. Reading ahead goes on after
                this returns, until the run ends.

        Raises:
            EngineUnusable: no call can succeed, in this step or another one of the run.
        """
        # Other steps of the run would only be refused as well, and pay for the calls.
        if self._unusable:
            raise self._unusable
        try:
            settings = self.snapshot.settings
            # An engine that knows the length asks for no longer answer than there is room for.
            settings = with_known_lengths(settings, self._context_lengths)
            driver = self._open_driver(settings)
            return driver.drive(tasks, on_progress, log, then)
        except SetupError as error:
            unusable = EngineUnusable(str(error))
            if self._is_in_run:
                self._unusable = unusable
            raise unusable from error
        finally:
            # Outside a run there is no teardown that would close it later.
            if not self._is_in_run:
                self._close_driver()

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Let one driver serve all steps of the run. Outside a run each drive opens its own."""
        self._is_in_run = True
        if context.run is not None:
            self._batch = context.run.tags.get(PARTITION_NAME_TAG)

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """End reading ahead: the run is over, whether it succeeded or not."""
        unused_calls = self._close_driver()
        self._checked.clear()
        self._context_lengths.clear()
        self._unusable = None
        if unused_calls and context.log:
            counts = [f"{calls} for {stage}" for stage, calls in unused_calls.items()]
            listing = ", ".join(counts)
            context.log.info(
                f"Read-ahead calls that this run did not use; the journal keeps them: {listing}"
            )

    def _open_driver(self, settings: Settings) -> BackgroundDriver:
        # A driver serves one engine, and other settings may mean another engine.
        if self._driver_settings != settings:
            self._close_driver()
        if self._driver is None:
            self._driver_settings = settings
            self._driver = BackgroundDriver(
                partial(make_engine, settings),
                settings.journal,
                settings.driver,
                shares_folder(settings),
                # Not before: the resource of the lake claims the batch, maybe after this setup.
                claim_of(self._batch),
            )
        return self._driver

    def _close_driver(self) -> dict[str, int]:
        """Close the driver; return the read-ahead calls that no stage used, by stage."""
        driver, self._driver = self._driver, None
        return driver.close() if driver else {}
