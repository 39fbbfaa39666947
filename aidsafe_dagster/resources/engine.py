"""What answers the agents, with the journal in front of it.

`engine` in the settings chooses: `rehearsal` (no model at all), `vllm` (a server on this machine's GPUs, see
`resources.vllm`) or `endpoint` (any OpenAI-compatible server). An engine is opened for a step and closed after it; the
model server outlives both.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import dagster as dg

from aidsafe_dagster.engines.driver import Progress, drive
from aidsafe_dagster.engines.endpoint import EndpointEngine, EndpointSettings
from aidsafe_dagster.engines.journal import Journal
from aidsafe_dagster.engines.load import ServerLoad, last_sample, watch
from aidsafe_dagster.engines.protocol import Engine
from aidsafe_dagster.engines.rehearsal.engine import RehearsalEngine
from aidsafe_dagster.engines.roles import EngineByRole, RoleSettings
from aidsafe_dagster.engines.vllm.engine import VLLMEngine
from aidsafe_dagster.recipe.dialogue import Brief, Case
from aidsafe_dagster.recipe.records import Failure
from aidsafe_dagster.recipe.templates import Templates
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.resources.tokens import token_counter
from aidsafe_dagster.resources.vllm import VLLMResource
from aidsafe_dagster.settings import Settings

T = TypeVar("T")
logger = logging.getLogger(__name__)


def make_engine(settings: Settings, log: Callable[[str], None] = logger.info) -> Engine:
    """The engine that the settings name, with those of the roles that have their own.

    Raises:
        SetupError: its settings are not complete.
    """
    elsewhere = {role: own for role, own in settings.roles.items() if own.base_url}
    others = {role: EndpointEngine(_role_endpoint(settings, own)) for role, own in elsewhere.items()}
    main = _main_engine(settings, log)
    return EngineByRole(main, others) if others else main


def _main_engine(settings: Settings, log: Callable[[str], None]) -> Engine:
    models = {role: own.model for role, own in settings.roles.items() if own.model and not own.base_url}
    if settings.engine == "vllm":
        return VLLMEngine(settings.vllm, settings.endpoint, models, log)
    if settings.engine == "endpoint":
        return EndpointEngine(settings.endpoint, models)
    return RehearsalEngine(settings.rehearsal)


def _role_endpoint(settings: Settings, own: RoleSettings) -> EndpointSettings:
    changes = own.model_dump(exclude={"api_key_env"} if not own.api_key_env else set())
    return settings.endpoint.model_copy(update=changes)


def make_brief(settings: Settings, engine: Engine) -> Brief:
    """What every dialogue is told, from the settings.

    Raises:
        SetupError: policies, templates or tokenizer cannot be loaded.
    """
    counter = token_counter(settings)
    return Brief(
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

    def load(self) -> Settings:
        """The settings in force, with what the launchpad says of vLLM."""
        settings = self.settings.load()
        return settings.model_copy(update={"vllm": self.vllm.in_force(settings.vllm)})

    def brief(self) -> Brief:
        """What the dialogues of this run are told."""
        settings = self.load()
        return make_brief(settings, make_engine(settings))

    def drive(
        self, cases: Sequence[Case[T]], on_progress: Callable[[Progress], None], log: Callable[[str], None]
    ) -> tuple[list[T | Failure], Progress]:
        """Runs the dialogues to their ends; see `engines.driver.drive`. `log` is told how a server starts."""
        settings = self.load()
        journal = Journal(settings.journal)
        try:
            return asyncio.run(_driven(cases, make_engine(settings, log), journal, settings, on_progress))
        finally:
            journal.close()


async def _driven(
    cases: Sequence[Case[T]],
    engine: Engine,
    journal: Journal,
    settings: Settings,
    on_progress: Callable[[Progress], None],
) -> tuple[list[T | Failure], Progress]:
    load = ServerLoad(engine.gpus)
    watching = asyncio.create_task(watch(load, engine.metrics_url))
    try:
        results, progress = await drive(cases, engine, journal, settings.driver, on_progress)
        await last_sample(load, engine.metrics_url())
        progress.load = load
        return results, progress
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await engine.close()
