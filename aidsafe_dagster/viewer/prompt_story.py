"""Everything that the lake holds of one prompt: what each stage made, and where it failed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aidsafe_dagster.lake.earlier_layouts import OtherLayout
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
    Origin,
    PreferencePair,
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
    tried: Sequence[TriedBelief] = ()
    training: Sequence[FineTuneRow] = ()
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
    story = PromptStory(prompt_id, batch)
    for stage, definition in STAGES.items():
        table = INGESTED if stage == Stage.PROMPTS else stage
        # A prompt has one row at every stage but this one.
        if stage == Stage.FINE_TUNE_SPLITS:
            story.training = _records(lake, table, FineTuneRow, story)
        else:
            for record in _records(lake, table, definition.record, story):
                story.records[str(stage)] = record
        story.failures += _failures(lake, stage, story)
    story.tried = _records(lake, BELIEF_CANDIDATES, TriedBelief, story)
    return story


def _records(
    lake: Lake, table: str, record: type[R], story: PromptStory
) -> Sequence[R]:
    # The conversation repeats what the other columns hold, and is most of a file.
    columns = [name for name in record.model_fields if name != "conversation"]
    try:
        if not lake.has(table, story.batch):
            return ()
        rows = lake.rows(table, story.batch, columns).filter(prompt_id=story.prompt_id)
        if "conversation" in record.model_fields:
            rows = rows.with_columns(conversation=[])
        return from_frame(rows, record)
    except (SetupError, OtherLayout) as error:
        # The other stages may well be readable.
        story.unreadable.append(str(error))
        return ()


def _failures(lake: Lake, stage: str, story: PromptStory) -> Sequence[Failure]:
    try:
        failures = lake.failures(stage, story.batch)
        return from_frame(failures.filter(prompt_id=story.prompt_id), Failure)
    except SetupError as error:
        story.unreadable.append(str(error))
        return ()
