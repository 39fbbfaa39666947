"""What a stage's free slots may work on: the stages after it in the same run, row by row.

A row is read ahead as its stage will make it: past the row gate, with the draws that are stored for it. Nothing is read
ahead that the run was not asked to make.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from aidsafe_dagster.engines.driver.rows import NextStage, RecordsByStage
from aidsafe_dagster.lake.lake import RECORDS
from aidsafe_dagster.quality.predicates import check_row
from aidsafe_dagster.recipe.dialogue import Conversation, DialogueTask
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.stages.dialogues import case_of

if TYPE_CHECKING:
    from aidsafe_dagster.stages.dialogue_stage import StageRun

_CHAIN = (
    Stage.SEED_COTS,
    Stage.DELIBERATED_COTS,
    Stage.REFINED_COTS,
    Stage.COT_GRADES,
    Stage.PREFERENCE_PAIRS,
)
"""Each begins with the record of the one before it."""
_OTHERS: Mapping[Stage, tuple[Stage, ...]] = {
    Stage.COT_GRADES: (Stage.DELIBERATED_COTS, Stage.SINGLE_LLM_COTS),
    Stage.PREFERENCE_PAIRS: (Stage.REFINED_COTS,),
}
"""What a stage needs beside that."""


def stages_ahead(making: "StageRun") -> tuple[NextStage, ...]:
    """Those that may be read ahead while this one is made."""
    if making.stage not in _CHAIN:
        return ()
    settings, in_run = making.engine.load(), set(making.context.run.step_keys_to_execute or ())
    place = _CHAIN.index(making.stage)
    following = list(takewhile(lambda stage: str(stage) in in_run, _CHAIN[place + 1 :]))
    ahead: tuple[NextStage, ...] = ()
    for before, stage in reversed(list(zip(_CHAIN[place:], following, strict=False))):
        ahead = (NextStage(stage, _Reader(making, settings, before, stage, in_run).case, ahead),)
    return ahead


@dataclass(frozen=True)
class _Reader:
    """Makes the cases of one stage from the records before it."""

    making: "StageRun"
    settings: Settings
    before: Stage
    stage: Stage
    in_run: set[str]

    def case(self, trail: RecordsByStage) -> DialogueTask[Any] | None:
        row = trail[self.before]
        records = self._completed(trail, row.prompt_id)
        if records is None or check_row(row, self.settings.checks, self.making.brief.policies):
            return None
        conversation = Conversation(
            self.making.brief, self.stage, row, self._redraws.get(row.prompt_id, ())
        )
        return case_of(self.stage, conversation, records, self.settings)

    def _completed(self, trail: RecordsByStage, prompt_id: str) -> RecordsByStage | None:
        """With what else the stage needs, from the lake; None when that is still to be made in this run."""
        for other in _OTHERS.get(self.stage, ()):
            if other in trail:
                continue
            if prompt_id in self._stored(other):
                trail = {**trail, other: self._stored(other)[prompt_id]}
            elif str(other) in self.in_run and not self.making.lake.has(other, self.making.batch):
                return None
        return trail

    def _stored(self, stage: Stage) -> Mapping[str, Any]:
        if stage not in self._tables and self.making.lake.has(stage, self.making.batch):
            rows = self.making.read(stage, RECORDS[stage])
            self._tables[stage] = {row.prompt_id: row for row in rows}
        return self._tables.get(stage, {})

    @cached_property
    def _redraws(self) -> Mapping[str, tuple[int, ...]]:
        return self.making.redraws_of(self.stage)

    @cached_property
    def _tables(self) -> dict[Stage, Mapping[str, Any]]:
        return {}
