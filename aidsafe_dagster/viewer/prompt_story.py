"""Everything that the lake holds of one prompt: what each stage made, and where it failed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import polars as pl

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import from_frame
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import (
    BELIEF_CANDIDATES,
    CotGrades,
    DeliberatedCot,
    Failure,
    FineTuneRow,
    Intent,
    Judgement,
    Message,
    Origin,
    PolicyCounterfactual,
    PreferencePair,
    Prompt,
    Provenance,
    Record,
    RefinedCot,
    SeedCot,
    SingleLlmCot,
    Stage,
    Thought,
    TriedBelief,
    Usage,
)
from aidsafe_dagster.recipe.stages import STAGES
from aidsafe_dagster.reports.sample import Exchange, list_exchanges
from aidsafe_dagster.sources.tables import INGESTED

R = TypeVar("R", bound=Record)


@dataclass
class PromptStory:
    """What is not there, or not readable, is missing in `records`."""

    prompt_id: str
    batch: str
    records: dict[str, Any] = field(default_factory=dict)
    """By stage, in the order of the recipe."""
    failures: list[Failure] = field(default_factory=list)
    tried: tuple[TriedBelief, ...] = ()
    training: tuple[FineTuneRow, ...] = ()
    unreadable: list[str] = field(default_factory=list)
    """Why a partition or a row cannot be shown."""

    @property
    def origin(self) -> Origin | None:
        """Where the prompt comes from, by the first table that knows."""
        for record in (*self.records.values(), *self.tried, *self.training):
            if isinstance(record, Origin):
                return record
        return None

    @property
    def prompt(self) -> str:
        for record in (*self.records.values(), *self.tried):
            if isinstance(getattr(record, "prompt", None), str):
                return str(record.prompt)
        return ""

    @property
    def earlier(self) -> Sequence[Message]:
        """The turns of a conversation before the prompt."""
        for record in self.records.values():
            if isinstance(record, Prompt):
                return record.earlier
        return ()

    @property
    def is_simulated(self) -> bool:
        made = (*self.records.values(), *self.tried, *self.training)
        return any(getattr(record, "simulated", False) for record in made)

    @property
    def seed(self) -> SeedCot | None:
        return self._record(Stage.SEED_COTS, SeedCot)

    @property
    def deliberated(self) -> DeliberatedCot | None:
        return self._record(Stage.DELIBERATED_COTS, DeliberatedCot)

    @property
    def refined(self) -> RefinedCot | None:
        return self._record(Stage.REFINED_COTS, RefinedCot)

    @property
    def grades(self) -> CotGrades | None:
        return self._record(Stage.COT_GRADES, CotGrades)

    @property
    def pair(self) -> PreferencePair | None:
        return self._record(Stage.PREFERENCE_PAIRS, PreferencePair)

    @property
    def counterfactual(self) -> PolicyCounterfactual | None:
        return self._record(Stage.POLICY_COUNTERFACTUALS, PolicyCounterfactual)

    @property
    def single_llm(self) -> SingleLlmCot | None:
        return self._record(Stage.SINGLE_LLM_COTS, SingleLlmCot)

    @property
    def intents(self) -> Sequence[Intent]:
        for row in (self.refined, self.deliberated, self.seed):
            if row:
                return row.intents
        return ()

    @property
    def exchanges(self) -> Sequence[Exchange]:
        """Who contributed which thoughts in which round, as far as the row came."""
        thoughts: Sequence[Thought] = ()
        if self.refined:
            thoughts = self.refined.deliberated_thoughts
        elif self.deliberated:
            thoughts = self.deliberated.thoughts
        elif self.seed:
            thoughts = self.seed.thoughts
        turns = self.deliberated.turns if self.deliberated else ()
        return list_exchanges(thoughts, turns)

    @property
    def judgements(self) -> Mapping[int, Judgement]:
        """The refiner's, by number of the thought."""
        if not self.refined:
            return {}
        return {judgement.thought: judgement for judgement in self.refined.judgements}

    @property
    def makers(self) -> Sequence[tuple[str, Provenance]]:
        """What each stage was made by and cost; stages that ask nobody are not in it."""
        made = []
        for stage, record in self.records.items():
            if isinstance(record, Provenance) and STAGES[stage].dialogue is not None:
                made.append((stage, record))
        return made

    @property
    def usage(self) -> Usage:
        """The cost of all stages, failed ones included."""
        total = Usage()
        for _, maker in self.makers:
            total += maker.usage
        for failure in self.failures:
            total += failure.usage
        return total

    @property
    def other_stages(self) -> Sequence[tuple[str, str]]:
        """Rows of stages that were added from outside, as Markdown."""
        own = {str(stage) for stage in Stage}
        pages = []
        for stage, record in self.records.items():
            transcript = STAGES[stage].transcript
            if stage not in own and transcript is not None:
                pages.append((stage, transcript(record)))
        return pages

    def _record(self, stage: Stage, record_class: type[R]) -> R | None:
        record = self.records.get(stage)
        return record if isinstance(record, record_class) else None


def read_story(lake: Lake, batch: str, prompt_id: str) -> PromptStory:
    """Read every table of a batch for one prompt."""
    stories = read_stories(lake, batch, prompt_id)
    # What is not there has a story as well, an empty one.
    return stories.get(prompt_id) or PromptStory(prompt_id, batch)


def read_stories(
    lake: Lake, batch: str, prompt_id: str | None = None
) -> dict[str, PromptStory]:
    """Read every table of a batch, for one prompt or for all; by id, in the order of the source."""
    reader = _BatchReader(lake, batch, prompt_id)
    for stage, definition in STAGES.items():
        table = INGESTED if stage == Stage.PROMPTS else stage
        # A prompt has one row at every stage but this one.
        if stage == Stage.FINE_TUNE_SPLITS:
            for row in reader.records(table, FineTuneRow):
                reader.story(row.prompt_id).training += (row,)
        else:
            for record in reader.records(table, definition.record):
                story = reader.story(str(getattr(record, "prompt_id", "")))
                story.records[str(stage)] = record
        for failure in reader.failures(stage):
            reader.story(failure.prompt_id).failures.append(failure)
    for tried in reader.records(BELIEF_CANDIDATES, TriedBelief):
        reader.story(tried.prompt_id).tried += (tried,)
    for story in reader.stories.values():
        story.unreadable = reader.unreadable
    return reader.stories


class _BatchReader:
    def __init__(self, lake: Lake, batch: str, prompt_id: str | None) -> None:
        self.stories: dict[str, PromptStory] = {}
        self.unreadable: list[str] = []
        self._lake = lake
        self._batch = batch
        self._prompt_id = prompt_id
        if prompt_id is not None:
            self.story(prompt_id)

    def story(self, prompt_id: str) -> PromptStory:
        if prompt_id not in self.stories:
            self.stories[prompt_id] = PromptStory(prompt_id, self._batch)
        return self.stories[prompt_id]

    def records(self, table: str, record: type[R]) -> list[R]:
        # The conversation repeats what the other columns hold, and is most of a file.
        columns = [name for name in record.model_fields if name != "conversation"]
        try:
            if not self._lake.has(table, self._batch):
                return []
            rows = self._wanted(self._lake.rows(table, self._batch, columns))
            if "conversation" in record.model_fields:
                rows = rows.with_columns(conversation=[])
            return from_frame(rows, record)
        except SetupError as error:
            # The other stages may well be readable.
            self.unreadable.append(str(error))
            return []

    def failures(self, stage: str) -> list[Failure]:
        try:
            failures = self._wanted(self._lake.failures(stage, self._batch))
            return from_frame(failures, Failure)
        except SetupError as error:
            self.unreadable.append(str(error))
            return []

    def _wanted(self, rows: pl.DataFrame) -> pl.DataFrame:
        return (
            rows if self._prompt_id is None else rows.filter(prompt_id=self._prompt_id)
        )
