"""One prompt on its way through all stages, with nobody to wait for.

A run makes a stage of a whole batch before the next one begins. Here each prompt goes on by itself,
so that it can be read as soon as it is done. Gates are told and close nothing: a row that a run
would hold back goes on, and its failure stands beside it. What a stage asks is the same, but for
the examples of the later iterations of the search for beliefs. Those come from the prompt itself
and not from its whole batch, so what is asked about a prompt does not depend on the others.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from aidsafe_dagster.recipe.beliefs import BeliefSearch, select_examples, tried_beliefs
from aidsafe_dagster.recipe.dialogue import Conversation, DialogueContext, DialogueTask
from aidsafe_dagster.recipe.records import (
    BeliefExample,
    Failure,
    Prompt,
    Row,
    Stage,
    TriedBelief,
)
from aidsafe_dagster.recipe.stages import (
    STAGES,
    StageDefinition,
    always_made,
    belief_iteration,
    belief_search,
)
from aidsafe_dagster.settings.schema import Settings

Drive = Callable[[DialogueTask[Any]], Awaitable[Any]]
"""Runs one dialogue to its record or failure."""


@dataclass
class PromptFlow:
    """What the recipe makes of one prompt, stage by stage."""

    prompt: Prompt
    settings: Settings
    context: DialogueContext
    drive: Drive
    stages: Collection[str] = frozenset(always_made())
    """Those that are made; the others are left out."""
    redraws: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """By stage, the calls from which new answers are drawn."""
    rows: dict[str, Row] = field(default_factory=dict)
    """By stage. Rows that a run would hold back are among them."""
    failures: dict[str, Failure] = field(default_factory=dict)
    """By stage, of the stages that made no row."""
    held_back: dict[str, Failure] = field(default_factory=dict)
    """By stage, why a run would hold its row back."""
    candidates: tuple[TriedBelief, ...] = ()
    seconds: float = 0.0

    async def run(self) -> None:
        """Make all stages, each as soon as what it reads is there.

        Raises:
            SetupError: no call can succeed.
        """
        started = time.monotonic()
        making: dict[str, asyncio.Task[None]] = {}
        for name, definition in STAGES.items():
            if definition.dialogue is not None and name in self.stages:
                read = [making[stage] for stage in definition.inputs if stage in making]
                making[name] = asyncio.create_task(self._make(definition, read))
        try:
            await asyncio.gather(*making.values())
        finally:
            for task in making.values():
                task.cancel()
            self.seconds = time.monotonic() - started

    async def _make(
        self, definition: StageDefinition, read: list[asyncio.Task[None]]
    ) -> None:
        await asyncio.gather(*read)
        records: Mapping[str, Any] = {Stage.PROMPTS: self.prompt, **self.rows}
        if not all(stage in records for stage in definition.upstream):
            return
        row = records[definition.upstream[-1]]
        redraws = self.redraws.get(definition.name, ())
        conversation = Conversation(self.context, definition.name, row, redraws)
        if definition.name == Stage.PREFERENCE_PAIRS:
            result = await self._search(conversation, records)
        else:
            task = definition.task(conversation, records, self.settings)
            result = await self.drive(task)
        if isinstance(result, Failure):
            self.failures[definition.name] = result
            return
        self.rows[definition.name] = result
        failure = definition.gate_failure(result, conversation, self.settings.checks)
        if failure is not None:
            self.held_back[definition.name] = failure

    async def _search(
        self, conversation: Conversation, records: Mapping[str, Any]
    ) -> Any:
        """Search for the belief that misleads the target; return the pair or a failure."""
        settings = self.settings
        search = belief_search(conversation, records, settings)
        examples: list[BeliefExample] = []
        result: Any = search
        for iteration in range(1, settings.pairs.iterations + 1):
            if iteration > 1:
                most = settings.pairs.examples
                examples = select_examples([search], search.kind, iteration, most)
            result = await self.drive(
                belief_iteration(search, iteration, examples, settings)
            )
            # A search that needs another iteration comes back as itself.
            if not isinstance(result, BeliefSearch):
                break
        self.candidates = tuple(tried_beliefs(search, settings.pairs))
        return result
