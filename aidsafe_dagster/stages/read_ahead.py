"""Which stages may use the slots that a stage leaves free: those after it in the same run.

A row is read ahead exactly as its stage will make it: past the row gate, with the redraws that are
stored for it. Nothing is read ahead that the run was not asked to make.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import polars as pl

from aidsafe_dagster.engines.driver.rows import NextStage
from aidsafe_dagster.lake.earlier_layouts import to_record
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.dialogue import Conversation, DialogueContext, DialogueTask
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Record
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
    made_in_run: frozenset[str],
    redraws_of: Callable[[str], Redraws],
) -> tuple[NextStage, ...]:
    """Return the stages that begin with this stage's rows, each with those that follow it."""
    names = _stages_behind(stage, stages_in_run, settings)
    inputs = {name for later in names for name in stage_named(later).inputs}
    readers = {}
    # What stands there of a stage that this run has yet to make is about to be replaced.
    stored = _stored_rows(lake, batch, inputs - (stages_in_run - made_in_run))
    for name in names:
        readers[name] = _StageReader(
            stage_named(name),
            settings,
            dialogue_context,
            stages_in_run,
            stored,
            redraws_of(name),
        )
    return _next_stages(stage, readers)


def _stages_behind(
    stage: str, stages_in_run: frozenset[str], settings: Settings
) -> list[str]:
    """Return the stages of this run that rest on a stage, each once."""
    names: list[str] = []
    for definition in stages_after(stage):
        # A run of the whole job has steps of stages that are off, too.
        if str(definition.name) in stages_in_run and definition.is_on(settings):
            names.append(definition.name)
            names.extend(_stages_behind(definition.name, stages_in_run, settings))
    return list(dict.fromkeys(names))


class _StoredRows:
    """The rows of a stage that is made. A row becomes a record when somebody asks for it."""

    def __init__(self, frame: pl.DataFrame, record: type[Record]) -> None:
        self._frame = frame
        self._record = record
        self._places = {
            prompt_id: place for place, prompt_id in enumerate(frame["prompt_id"])
        }

    def find(self, prompt_id: str) -> Any | None:
        """Return the record of a prompt, None if the stage has no row of it.

        Raises:
            OtherLayout: another release wrote a row that cannot be read.
        """
        place = self._places.get(prompt_id)
        if place is None:
            return None
        return to_record(self._frame.row(place, named=True), self._record)


def _stored_rows(
    lake: Lake, batch: str, stages: Collection[str]
) -> Mapping[str, _StoredRows]:
    """Return the rows of those stages that are made."""
    tables = {}
    for stage in stages:
        # A damaged one is not made: this run may be about to make it again, and if not, the stage
        # that needs it says what is wrong.
        with suppress(SetupError):
            if lake.has(stage, batch):
                frame = lake.rows(stage, batch)
                tables[stage] = _StoredRows(frame, stage_named(stage).record)
    return tables


def _next_stages(
    stage: str, readers: Mapping[str, "_StageReader"]
) -> tuple[NextStage, ...]:
    following = []
    for definition in stages_after(stage):
        name = definition.name
        if name in readers:
            then = _next_stages(name, readers)
            following.append(NextStage(name, readers[name].task, then))
    return tuple(following)


@dataclass(frozen=True)
class _StageReader:
    """Makes the dialogues of one stage from the records of the stages before it.

    All that it needs of the lake is read beforehand. It is called in the driver's event loop, where
    a store that is slow would let the calls in flight time out.
    """

    definition: StageDefinition
    settings: Settings
    dialogue_context: DialogueContext
    stages_in_run: frozenset[str]
    stored: Mapping[str, _StoredRows]
    """Of the stages that are made already."""
    redraws: Redraws

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
        redraws = self.redraws.get(row.prompt_id, ())
        conversation = Conversation(
            self.dialogue_context, self.definition.name, row, redraws
        )
        return self.definition.task(conversation, all_records, self.settings)

    def _with_stored_records(
        self, records: RecordsByStage, prompt_id: str
    ) -> RecordsByStage | None:
        """Add what else the stage reads, from the lake.

        Returns:
            None if this run has yet to make it, or another release wrote it and it cannot be read.
        """
        complete = dict(records)
        for stage in self.definition.inputs:
            if stage in complete:
                continue
            if stage not in self.stored:
                # The same request can only be built from the rows that this run has yet to make,
                # and another request would be paid for in vain.
                if str(stage) in self.stages_in_run:
                    return None
                continue
            try:
                record = self.stored[stage].find(prompt_id)
            except SetupError:
                # The stage that needs it says what is wrong.
                return None
            if record is not None:
                complete[stage] = record
        return complete
