"""What answers the agents, with the journal in front of it.

`engine` in the settings chooses: `rehearsal` (no model at all), `vllm` (a server on this machine's GPUs, see
`resources.vllm`) or `endpoint` (any OpenAI-compatible server). The first step that needs an engine opens it, and it is
closed when the run is over; the model server outlives both.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import dagster as dg
from pydantic import PrivateAttr

from aidsafe_dagster.engines.driver.background_driver import BackgroundDriver
from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.engines.driver.rows import NextStage
from aidsafe_dagster.engines.endpoint import EndpointEngine, EndpointSettings
from aidsafe_dagster.engines.protocol import Engine
from aidsafe_dagster.engines.rehearsal.engine import RehearsalEngine
from aidsafe_dagster.engines.roles import EngineByRole, RoleSettings
from aidsafe_dagster.engines.vllm.engine import VLLMEngine
from aidsafe_dagster.recipe.dialogue import DialogueContext, DialogueTask
from aidsafe_dagster.recipe.records import Failure
from aidsafe_dagster.recipe.templates import Templates
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.resources.tokens import token_counter
from aidsafe_dagster.resources.vllm import VLLMResource
from aidsafe_dagster.settings.schema import Settings

T = TypeVar("T")
logger = logging.getLogger(__name__)


def make_engine(settings: Settings, log: Callable[[str], None] = logger.info) -> Engine:
    """The engine that the settings name, with those of the roles that have their own.

    Raises:
        SetupError: its settings are not complete.
    """
    elsewhere = {role: own for role, own in settings.roles.items() if own.base_url}
    others = {
        role: EndpointEngine(_role_endpoint(settings, own)) for role, own in elsewhere.items()
    }
    revisions = {role: own.revision for role, own in settings.roles.items() if own.revision}
    main = _main_engine(settings, log)
    return EngineByRole(main, others, revisions) if others or revisions else main


def _main_engine(settings: Settings, log: Callable[[str], None]) -> Engine:
    models = {
        role: own.model for role, own in settings.roles.items() if own.model and not own.base_url
    }
    if settings.engine == "vllm":
        return VLLMEngine(settings.vllm, settings.endpoint, models, log)
    if settings.engine == "endpoint":
        return EndpointEngine(settings.endpoint, models)
    return RehearsalEngine(settings.rehearsal)


def _role_endpoint(settings: Settings, own: RoleSettings) -> EndpointSettings:
    changes = own.model_dump(
        include={"base_url", "model"} | ({"api_key_env"} if own.api_key_env else set())
    )
    return settings.endpoint.model_copy(update=changes)


def make_brief(settings: Settings, engine: Engine) -> DialogueContext:
    """What every dialogue is told, from the settings.

    Raises:
        SetupError: policies, templates or tokenizer cannot be loaded.
    """
    counter = token_counter(settings)
    return DialogueContext(
        policies=settings.load_policies(),
        templates=Templates(settings.prompts),
        count_tokens=counter,
        tokens_counted_by=counter.name,
        sampling=settings.sampling,
        bounds=settings.answers,
        seed=settings.seed,
        engine=engine.name,
        simulated=engine.simulated,
    )


class EngineResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Drives dialogues against the engine of the settings, every completion journaled."""

    settings: dg.ResourceDependency[SettingsResource]
    vllm: dg.ResourceDependency[VLLMResource]
    _background: BackgroundDriver | None = PrivateAttr(default=None)
    _driven_by: Settings | None = PrivateAttr(default=None)
    _of_a_run: bool = PrivateAttr(default=False)

    def load(self) -> Settings:
        """The settings in force, with what the launchpad says of vLLM."""
        settings = self.settings.load()
        return settings.model_copy(update={"vllm": self.vllm.in_force(settings.vllm)})

    def brief(self) -> DialogueContext:
        """What the dialogues of this run are told."""
        settings = self.load()
        return make_brief(settings, make_engine(settings))

    def drive(
        self,
        cases: Sequence[DialogueTask[T]],
        on_progress: Callable[[Progress], None],
        log: Callable[[str], None],
        then: Sequence[NextStage] = (),
    ) -> tuple[list[T | Failure], Progress]:
        """Runs the dialogues to their ends; see `engines.driver`.

        Args:
            cases: the rows' dialogues.
            on_progress: called every half second.
            log: is told how a server starts, goes away and comes back.
            then: stages that may be read ahead of rows that are done. That goes on after this returns, until the run
                is over.
        """
        try:
            return self._running(self.load()).drive(cases, on_progress, log, then)
        finally:
            if not self._of_a_run:
                self._closed()

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:  # noqa: ARG002
        """One driver serves all steps of a run; made by hand, the resource opens one for every drive."""
        self._of_a_run = True

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """The run is over, well or not: nothing is read ahead any more."""
        unused_calls = self._closed()
        if unused_calls and context.log:
            told = ", ".join(f"{calls} of {stage}" for stage, calls in unused_calls.items())
            context.log.info(
                f"Calls read ahead and not used by this run, now in the journal: {told}"
            )

    def _running(self, settings: Settings) -> BackgroundDriver:
        """One driver a run; another one when the settings were changed meanwhile."""
        if self._driven_by != settings:
            self._closed()
        if self._background is None:
            self._driven_by = settings
            self._background = BackgroundDriver(
                partial(make_engine, settings),
                settings.journal,
                settings.driver,
                _shared_folder(settings),
            )
        return self._background

    def _closed(self) -> dict[str, int]:
        """Closes the driver; returns the calls that were read ahead in vain, by stage."""
        background, self._background = self._background, None
        return background.close() if background else {}


def _shared_folder(settings: Settings) -> Path | None:
    """Where the runs that use the same engine divide its slots; the rehearsal engine has enough for everybody."""
    if settings.engine == "rehearsal":
        return None
    servers = (
        [settings.endpoint.base_url]
        if settings.engine == "endpoint"
        else [settings.vllm.model_dump_json()]
    )
    servers += sorted(role.base_url for role in settings.roles.values())
    name = hashlib.blake2b("\0".join(servers).encode(), digest_size=6).hexdigest()
    return settings.home / "engines" / f"{settings.engine}-{name}"
