"""Settings of ingestion and decontamination.

Settings are loaded by every command, so this module imports no Hub client and no data frames.
"""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field, field_validator

from aidsafe_dagster.recipe.records import Record
from aidsafe_dagster.sources.bounds import InputBounds
from aidsafe_dagster.sources.presets import EVALUATION_PRESETS, Preset
from aidsafe_dagster.sources.source import FileOrDataset, Name


class IngestSettings(InputBounds):
    batch_size: int = Field(
        default=250, ge=1, description="maximum number of prompts in a batch"
    )
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
        description="Jaccard similarity that puts prompts into the same cluster",
    )
    max_prompt_chars: int = Field(
        default=20_000, ge=1, description="maximum number of characters in a prompt"
    )
    reject_chat_tokens: bool = Field(
        default=False,
        description="reject prompts that hold tokens of chat templates, such as <|im_start|>; "
        "otherwise they are kept, and broken in every request",
    )


class PromptColumn(Record):
    prompt: Name | None = Field(
        default=None,
        description="column of the prompt; default: the first of the usual names",
    )


class EvaluationSetSpec(FileOrDataset):
    """One evaluation set. It needs no licence because its prompts are never passed on."""

    kind: ClassVar[str] = "evaluation set"
    presets: ClassVar[Mapping[str, Preset]] = EVALUATION_PRESETS

    columns: PromptColumn = PromptColumn()


class DecontaminationSettings(Record):
    sets: tuple[EvaluationSetSpec, ...] = Field(
        default=(), description="evaluation sets; if empty, nothing is checked"
    )
    ngram_words: int = Field(
        default=8, ge=3, description="shared words in a row that count as a match"
    )
    jaccard_threshold: float = Field(
        default=0.6,
        gt=0,
        le=1,
        description="similarity of shingles that counts as a match",
    )
    tfidf_threshold: float = Field(
        default=0.7,
        gt=0,
        le=1,
        description="cosine of TF-IDF weights that counts as a match",
    )
    embedding_threshold: float = Field(
        default=0.7,
        gt=0,
        le=1,
        description="cosine of embeddings that counts as a match",
    )

    @field_validator("sets")
    @classmethod
    def _have_unique_names(
        cls, sets: tuple[EvaluationSetSpec, ...]
    ) -> tuple[EvaluationSetSpec, ...]:
        names = set[str]()
        for spec in sets:
            if spec.name in names:
                raise ValueError(f"the name '{spec.name}' is used twice")
            names.add(spec.name)
        return sets
