"""Which stages may use the slots that a stage leaves free: those after it in the same run.

A row is read ahead exactly as its stage will make it: past the row gate, with the redraws that are
stored for it. Nothing is read ahead that the run was not asked to make.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from aidsafe_dagster.engines.driver.rows import NextStage
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.dialogue import Conversation, DialogueContext, DialogueTask
from aidsafe_dagster.recipe.stages import (
    RecordsByStage,
    StageDefinition,
    stage_named,
    stages_after,
)
from aidsafe_dagster.settings.schema import Settings

Redraws = Mapping[str, tuple[int, ...]]


def stages_to_read_ahead(
    stage: str,
    *,
    lake: Lake,
    batch: str,
    settings: Settings,
    dialogue_context: DialogueContext,
    stages_in_run: frozenset[str],
    redraws_of: Callable[[str], Redraws],
) -> tuple[NextStage, ...]:
    """Return the stages that begin with this stage's rows, each with those that follow it."""
    following = []
    for definition in stages_after(stage):
        if str(definition.name) not in stages_in_run:
            continue
        reader = _StageReader(
            definition,
            lake,
            batch,
            settings,
            dialogue_context,
            stages_in_run,
            redraws_of,
        )
        then = stages_to_read_ahead(
            definition.name,
            lake=lake,
            batch=batch,
            settings=settings,
            dialogue_context=dialogue_context,
            stages_in_run=stages_in_run,
            redraws_of=redraws_of,
        )
        following.append(NextStage(definition.name, reader.task, then))
    return tuple(following)


@dataclass(frozen=True)
class _StageReader:
    """Makes the dialogues of one stage from the records of the stages before it."""

    definition: StageDefinition
    lake: Lake
    batch: str
    settings: Settings
    dialogue_context: DialogueContext
    stages_in_run: frozenset[str]
    redraws_of: Callable[[str], Redraws]

    def task(self, records: RecordsByStage) -> DialogueTask[Any] | None:
        """Return the row's dialogue; None when it cannot be read ahead."""
        first = stage_named(self.definition.upstream[-1])
        row = records[first.name]
        context = self.dialogue_context
        verdict = first.check_row(
            row, self.settings.checks, context.policies, context.language_of
        )
        # Its own stage is going to fail this row, and calls for it would be wasted.
        if verdict is not None:
            return None
        all_records = self._with_stored_records(records, row.prompt_id)
        if all_records is None:
            return None
        redraws = self._redraws.get(row.prompt_id, ())
        conversation = Conversation(
            self.dialogue_context, self.definition.name, row, redraws
        )
        return self.definition.task(conversation, all_records, self.settings)

    def _with_stored_records(
        self, records: RecordsByStage, prompt_id: str
    ) -> RecordsByStage | None:
        """Add what else the stage reads, from the lake; None if this run has yet to make it."""
        complete = dict(records)
        for stage in self.definition.inputs:
            if stage in complete:
                continue
            stored = self._stored_records(stage)
            if prompt_id in stored:
                complete[stage] = stored[prompt_id]
                continue
            # The run has yet to make that stage. The same request can only be built from its rows,
            # and another request would be paid for in vain.
            is_in_run = str(stage) in self.stages_in_run
            if is_in_run and not self.lake.has(stage, self.batch):
                return None
        return complete

    def _stored_records(self, stage: str) -> Mapping[str, Any]:
        # Read once for all rows, and only when the first row needs it.
        if stage not in self._tables and self.lake.has(stage, self.batch):
            rows = self.lake.records(stage, self.batch, stage_named(stage).record)
            self._tables[stage] = {row.prompt_id: row for row in rows}  # type: ignore[attr-defined]
        return self._tables.get(stage, {})

    @cached_property
    def _redraws(self) -> Redraws:
        return self.redraws_of(self.definition.name)

    @cached_property
    def _tables(self) -> dict[str, Mapping[str, Any]]:
        return {}
