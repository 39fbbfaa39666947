"""A side of a comparison: batches, each in the lake that holds the version that is meant."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby

import polars as pl

from aidsafe_dagster.lake.batch_recipes import read_recipes
from aidsafe_dagster.lake.batched_reading import rows_by_batch
from aidsafe_dagster.lake.earlier_layouts import to_record
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import from_frame
from aidsafe_dagster.recipe.batch_recipe import StageRecipe
from aidsafe_dagster.recipe.records import Failure, Prompt, Row, Stage
from aidsafe_dagster.recipe.stages import STAGES
from aidsafe_dagster.tryout.results import PromptOutcome
from aidsafe_dagster.tryout.store import HELD_BACK

TrainingKinds = Mapping[str, frozenset[str]]
"""By prompt id, 'sft' and 'dpo' where the splits have such a row."""


@dataclass(frozen=True)
class Side:
    """One side of a comparison."""

    name: str
    """As a person types it."""
    description: str
    lakes: Mapping[str, Lake]
    """By batch."""
    texts: Lake
    """Has the texts of the policies and templates that its rows were made under."""
    currency: str = ""
    """Of the money of its rows; empty if it has no prices, or nobody knows."""
    stale: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """By batch that is half made again, the stages that are still of the version before. They are
    no part of this side."""

    @cached_property
    def batch_of(self) -> Mapping[str, str]:
        """The batch of each prompt, by prompt id."""
        places = {}
        # Those of one lake are read in few passes.
        for _, group in groupby(self.lakes.items(), key=lambda item: id(item[1])):
            of_lake = dict(group)
            lake = next(iter(of_lake.values()))
            frames = rows_by_batch(lake, Stage.PROMPTS, [*of_lake], ["prompt_id"])
            for batch, prompts in frames:
                places.update(dict.fromkeys(prompts["prompt_id"], batch))
        return places

    def has(self, stage: str, batch: str) -> bool:
        """Tell whether a batch has reached a stage."""
        is_stale = stage in self.stale.get(batch, ())
        return not is_stale and self.lakes[batch].has(stage, batch)

    def recipes(self, batch: str) -> Mapping[str, StageRecipe]:
        """Return what the stages of a batch were made under, by stage; those that have a record."""
        recipes = read_recipes(self.lakes[batch], batch)
        return {stage: one for stage, one in recipes.items() if self.has(stage, batch)}

    def outcomes(self, prompt_ids: Collection[str]) -> dict[str, PromptOutcome]:
        """Return what became of some prompts.

        Raises:
            SetupError: a file is damaged, or of a release that cannot be read.
        """
        by_batch: dict[str, list[str]] = defaultdict(list)
        for prompt_id in prompt_ids:
            by_batch[self.batch_of[prompt_id]].append(prompt_id)
        outcomes: dict[str, PromptOutcome] = {}
        for batch, ids in by_batch.items():
            outcomes |= self._outcomes(batch, ids)
        return outcomes

    def training_kinds(self, batch: str) -> TrainingKinds | None:
        """Return which kinds of training rows the prompts of a batch have; None without splits."""
        if not self.has(Stage.FINE_TUNE_SPLITS, batch):
            return None
        columns = ["prompt_id", "kind"]
        rows = self.lakes[batch].rows(Stage.FINE_TUNE_SPLITS, batch, columns)
        kinds: dict[str, frozenset[str]] = {}
        for prompt_id, kind in rows.select(columns).iter_rows():
            kinds[prompt_id] = kinds.get(prompt_id, frozenset()) | {kind}
        return kinds

    def _outcomes(self, batch: str, ids: Sequence[str]) -> dict[str, PromptOutcome]:
        lake = self.lakes[batch]
        rows: dict[str, dict[str, Row]] = {prompt_id: {} for prompt_id in ids}
        failures: dict[str, dict[str, Failure]] = {prompt_id: {} for prompt_id in ids}
        held_back: dict[str, dict[str, Failure]] = {prompt_id: {} for prompt_id in ids}
        for stage, definition in STAGES.items():
            if definition.dialogue is None or not self.has(stage, batch):
                continue
            for row in _rows(lake, stage, batch, ids):
                rows[row.prompt_id][stage] = row
            for failure in _failures(lake.failures(stage, batch), ids):
                failures[failure.prompt_id][stage] = failure
        # Of a tryout, in which such rows go on.
        if lake.has(HELD_BACK, batch):
            for failure in _failures(lake.rows(HELD_BACK, batch), ids):
                held_back[failure.prompt_id][failure.stage] = failure
        outcomes = {}
        prompts = _with_ids(lake.rows(Stage.PROMPTS, batch), ids)
        for prompt in from_frame(prompts, Prompt):
            key = prompt.prompt_id
            outcomes[key] = PromptOutcome(
                prompt, rows[key], failures[key], held_back[key]
            )
        return outcomes


def _rows(lake: Lake, stage: str, batch: str, ids: Sequence[str]) -> list[Row]:
    """Return rows without the conversation, which repeats their text and is most of a file."""
    record = STAGES[stage].record
    columns = [name for name in record.model_fields if name != "conversation"]
    defaults: dict[str, object] = {}
    if "conversation" in record.model_fields:
        defaults["conversation"] = ()
    frame = _with_ids(lake.rows(stage, batch, columns), ids)
    rows = []
    for values in frame.iter_rows(named=True):
        row = to_record(values | defaults, record)
        assert isinstance(row, Row)
        rows.append(row)
    return rows


def _failures(frame: pl.DataFrame, ids: Sequence[str]) -> list[Failure]:
    return from_frame(_with_ids(frame, ids), Failure)


def _with_ids(frame: pl.DataFrame, ids: Sequence[str]) -> pl.DataFrame:
    return frame.filter(pl.col("prompt_id").is_in(list(ids)))
