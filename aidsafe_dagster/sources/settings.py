"""Settings of ingestion and of decontamination, apart from the code that reads the prompts.

Loading settings must be quick, so this module imports no Hub client and no data frames.
"""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field, field_validator

from aidsafe_dagster.recipe.records import Record
from aidsafe_dagster.sources.presets import EVALUATION_PRESETS, Preset
from aidsafe_dagster.sources.source import FileOrDataset, Name


class IngestSettings(Record):
    batch_size: int = Field(default=250, ge=1, description="prompts of a batch at most")
    near_duplicate_threshold: float = Field(
        default=0.8,
        ge=0.1,
        le=1.0,
        description="Jaccard similarity of word 3-shingles that counts as near duplicate",
    )
    cluster_threshold: float = Field(
        default=0.5,
        ge=0.1,
        le=1.0,
        description="the same similarity, at which prompts are of one cluster",
    )
    max_prompt_chars: int = Field(
        default=20_000, ge=1, description="characters of a prompt at most"
    )


class PromptColumn(Record):
    prompt: Name | None = Field(
        default=None, description="column of the prompt; without it the usual names"
    )


class EvaluationSetSpec(FileOrDataset):
    """One evaluation set. It needs no licence: its prompts go nowhere."""

    kind: ClassVar[str] = "evaluation set"
    presets: ClassVar[Mapping[str, Preset]] = EVALUATION_PRESETS

    columns: PromptColumn = PromptColumn()


class DecontaminationSettings(Record):
    sets: tuple[EvaluationSetSpec, ...] = Field(
        default=(), description="evaluation sets; none: nothing is checked"
    )
    ngram_words: int = Field(default=8, ge=3, description="shared words in a row that are a match")
    jaccard_threshold: float = Field(
        default=0.6, gt=0, le=1, description="similarity of shingles that is a match"
    )
    tfidf_threshold: float = Field(
        default=0.7, gt=0, le=1, description="cosine of TF-IDF weights that is a match"
    )
    embedding_threshold: float = Field(
        default=0.7, gt=0, le=1, description="cosine of embeddings that is a match"
    )

    @field_validator("sets")
    @classmethod
    def _have_names_of_their_own(
        cls, sets: tuple[EvaluationSetSpec, ...]
    ) -> tuple[EvaluationSetSpec, ...]:
        names = [spec.name for spec in sets]
        if repeated := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"the name '{repeated[0]}' is used twice")
        return sets
