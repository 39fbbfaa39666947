"""Everything that the lake holds of one prompt: what each stage made, and where it failed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import polars as pl

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import from_frame
from aidsafe_dagster.lake.translations import (
    is_checked_alike,
    is_translation_of,
    known_in_evaluation,
    translation_tables,
)
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.language_names import LANGUAGE_NAMES
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
from aidsafe_dagster.recipe.translation import TranslatedRow, originals
from aidsafe_dagster.reports.sample import Exchange, list_exchanges
from aidsafe_dagster.sources.tables import INGESTED

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class StoredTranslation:
    row: TranslatedRow
    holds: bool
    """Whether it is one of what its original says now, and checked as that is."""

    @property
    def language(self) -> str:
        """The name of its language."""
        return LANGUAGE_NAMES.get(self.row.language, self.row.language)


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
    translations: tuple[StoredTranslation, ...] = ()
    untranslated: list[Failure] = field(default_factory=list)
    """Translations that failed or were left out; the row itself is none the worse."""
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
        translations = [translation.row for translation in self.translations]
        made = (*self.records.values(), *self.tried, *self.training, *translations)
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
        for translation in self.translations:
            total += translation.row.usage
        for failure in (*self.failures, *self.untranslated):
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
            reader.read_training()
        else:
            for record in reader.records(table, definition.record):
                story = reader.story(str(getattr(record, "prompt_id", "")))
                story.records[str(stage)] = record
        for failure in reader.failures(stage):
            reader.story(failure.prompt_id).failures.append(failure)
    for tried in reader.records(BELIEF_CANDIDATES, TriedBelief):
        reader.story(tried.prompt_id).tried += (tried,)
    _read_translations(reader)
    for story in reader.stories.values():
        story.unreadable = reader.unreadable
    return reader.stories


def read_translations(lake: Lake, batch: str, prompt_id: str) -> PromptStory:
    """Read of one prompt what was translated, with the rows that were."""
    reader = _BatchReader(lake, batch, prompt_id)
    reader.read_training()
    _read_translations(reader)
    story = reader.story(prompt_id)
    story.unreadable = reader.unreadable
    return story


def _read_translations(reader: "_BatchReader") -> None:
    lake, batch = reader.lake, reader.batch
    tables = translation_tables(lake)
    # Of any batch: what was made from such a prompt goes with it.
    kept_out = known_in_evaluation(lake) if tables else set()
    for table in tables:
        is_checked = is_checked_alike(lake, batch, table)
        for row in reader.records(table, TranslatedRow, by="translated_from"):
            story = reader.story(row.translated_from)
            original = next(iter(originals(story.training)), None)
            holds = is_checked and is_translation_of(row, original)
            parent = row.derivation.parent if row.derivation else ""
            is_known = not kept_out.isdisjoint({row.translated_from, parent})
            stored = StoredTranslation(row, holds=holds and not is_known)
            story.translations += (stored,)
        for failure in reader.failures(table):
            reader.story(failure.prompt_id).untranslated.append(failure)


class _BatchReader:
    def __init__(self, lake: Lake, batch: str, prompt_id: str | None) -> None:
        self.stories: dict[str, PromptStory] = {}
        self.unreadable: list[str] = []
        self.lake = lake
        self.batch = batch
        self._prompt_id = prompt_id
        if prompt_id is not None:
            self.story(prompt_id)

    def story(self, prompt_id: str) -> PromptStory:
        if prompt_id not in self.stories:
            self.stories[prompt_id] = PromptStory(prompt_id, self.batch)
        return self.stories[prompt_id]

    def records(self, table: str, record: type[R], by: str = "prompt_id") -> list[R]:
        """Return the rows of a table; `by` names the column that says of which prompt."""
        # The conversation repeats what the other columns hold, and is most of a file.
        columns = [name for name in record.model_fields if name != "conversation"]
        try:
            if not self.lake.has(table, self.batch):
                return []
            rows = self._wanted(self.lake.rows(table, self.batch, columns), by)
            if "conversation" in record.model_fields:
                rows = rows.with_columns(conversation=[])
            return from_frame(rows, record)
        except SetupError as error:
            # The other stages may well be readable.
            self.unreadable.append(str(error))
            return []

    def read_training(self) -> None:
        for row in self.records(Stage.FINE_TUNE_SPLITS, FineTuneRow):
            self.story(row.prompt_id).training += (row,)

    def failures(self, stage: str) -> list[Failure]:
        try:
            failures = self._wanted(self.lake.failures(stage, self.batch))
            return from_frame(failures, Failure)
        except SetupError as error:
            self.unreadable.append(str(error))
            return []

    def _wanted(self, rows: pl.DataFrame, by: str = "prompt_id") -> pl.DataFrame:
        if self._prompt_id is None:
            return rows
        return rows.filter(pl.col(by) == self._prompt_id)
