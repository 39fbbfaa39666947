"""The GPU resource: what answers the agents, with the journal in front of it.

`engine` in the settings chooses: `rehearsal` (no model at all) or `endpoint` (any OpenAI-compatible server, vLLM first
of all). An engine is opened for a step and closed after it; the model server behind an endpoint outlives both.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

import dagster as dg

from aidsafe_dagster.engines.driver import Progress, drive
from aidsafe_dagster.engines.endpoint import EndpointEngine
from aidsafe_dagster.engines.journal import Journal
from aidsafe_dagster.engines.protocol import Engine
from aidsafe_dagster.engines.rehearsal.engine import RehearsalEngine
from aidsafe_dagster.quality.tokens import load_token_counter
from aidsafe_dagster.recipe.dialogue import Brief, Case
from aidsafe_dagster.recipe.policies import load_policies
from aidsafe_dagster.recipe.records import Failure
from aidsafe_dagster.recipe.templates import Templates
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.settings import Settings

T = TypeVar("T")


def make_engine(settings: Settings) -> Engine:
    """The engine that the settings name.

    Raises:
        SetupError: its settings are not complete.
    """
    if settings.engine == "endpoint":
        return EndpointEngine(settings.endpoint)
    return RehearsalEngine(settings.rehearsal)


def make_brief(settings: Settings, engine: Engine) -> Brief:
    """What every dialogue is told, from the settings.

    Raises:
        SetupError: policies, templates or tokenizer cannot be loaded.
    """
    return Brief(
        policies=load_policies(settings.policies),
        templates=Templates(settings.prompts),
        count_tokens=load_token_counter(settings.tokenizer),
        sampling=settings.sampling,
        seed=settings.seed,
        engine=engine.name,
        simulated=engine.simulated,
    )


class EngineResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Drives dialogues against the engine of the settings, every completion journaled."""

    settings: dg.ResourceDependency[SettingsResource]

    def brief(self) -> Brief:
        """What the dialogues of this run are told."""
        settings = self.settings.load()
        return make_brief(settings, make_engine(settings))

    def drive(
        self, cases: Sequence[Case[T]], on_progress: Callable[[Progress], None]
    ) -> tuple[list[T | Failure], Progress]:
        """Runs the dialogues to their ends; see `engines.driver.drive`."""
        settings = self.settings.load()
        journal = Journal(settings.journal)
        try:
            return asyncio.run(_driven(cases, make_engine(settings), journal, settings, on_progress))
        finally:
            journal.close()


async def _driven(
    cases: Sequence[Case[T]],
    engine: Engine,
    journal: Journal,
    settings: Settings,
    on_progress: Callable[[Progress], None],
) -> tuple[list[T | Failure], Progress]:
    try:
        return await drive(cases, engine, journal, settings.driver, on_progress)
    finally:
        await engine.close()
