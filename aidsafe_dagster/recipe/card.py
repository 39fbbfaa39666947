"""The dataset card: what a release holds, how it was made and what is known about its quality.

`CardFacts` holds everything that the card says. The words are in a template, which a team may
replace. The card holds no time, so the same rows give the same card. Names, policies and model
texts are escaped wherever they appear.
"""

import json
import re
from collections.abc import Mapping
from typing import Literal

from jinja2 import Environment, StrictUndefined, TemplateError
from pydantic import Field

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.format_types import Column
from aidsafe_dagster.recipe.markdown import escape_inline
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import Record

_SIZES = (
    "n<1K",
    "1K<n<10K",
    "10K<n<100K",
    "100K<n<1M",
    "1M<n<10M",
    "10M<n<100M",
    "100M<n<1B",
)


class SplitFacts(Record):
    split: str
    rows: int
    files: str = Field(description="glob of its files")


class ConfigFacts(Record):
    config: str
    about: str
    splits: tuple[SplitFacts, ...]
    columns: tuple[tuple[str, Column], ...] = Field(
        description="without the lineage columns"
    )

    @property
    def rows(self) -> int:
        return sum(split.rows for split in self.splits)


class SourceFacts(Record):
    source: str
    licence: str
    sft: int
    dpo: int


class ModelFacts(Record):
    stage: str
    roles: str
    engine: str
    model: str
    server: str = Field(
        description="servers that answered, with their profiles; empty in older rows"
    )
    templates_version: str
    rows: int


class CoverageFacts(Record):
    policy: str
    title: str
    applicable: int = Field(description="rows that it applies to")
    citing: int = Field(
        description="rows whose final chain of thought cites one of its rules"
    )


class GenerationFacts(Record):
    stage: str
    generation: int = Field(description="turn of the loop, from 1 on")
    adapters: str = Field(description="trained adapters that answered, and as whom")
    rows: int


class LanguageFacts(Record):
    """The texts of a language, as far as it is sure."""

    language: str = Field(description="an ISO 639-1 code")
    prompts: int
    responses: int


class LanguagesFacts(Record):
    """The languages of prompts and responses, told by a program."""

    of_rows: int = Field(description="prompts that were looked at")
    rows: tuple[LanguageFacts, ...]
    untold_prompts: int = Field(description="too short, mixed, or not sure")
    untold_responses: int


class CountFacts(Record):
    """The number of rows with some property."""

    what: str
    rows: int


class EvaluationSetFacts(Record):
    """An evaluation set that the prompts were checked against, for contamination."""

    set: str
    origin: str
    revision: str
    prompts: int
    batches: int = Field(description="batches that were checked against it")
    removed: int = Field(description="prompts left out because of it")


class LeftOutFacts(Record):
    stage: str
    reason: str
    rows: int


class BatchFacts(Record):
    batch: str
    why: str


class FloorFacts(Record):
    """The least scores that rows needed, and the batches that were made under them."""

    floors: str = Field(description="each metric with its floor; empty: none")
    batches: int


class MetricFacts(Record):
    metric: str
    cells: tuple[str, ...] = Field(
        description="by version: the mean with its interval, as text"
    )


class QualityFacts(Record):
    """The judges' scores of the chains of thought."""

    judges: tuple[str, ...]
    self_judged: tuple[str, ...] = Field(
        description="models that judged rows which they took part in writing"
    )
    prompts: int = Field(description="prompts with a grade for every version")
    versions: tuple[str, ...]
    metrics: tuple[MetricFacts, ...]


class GatingFacts(Record):
    mode: Literal["auto", "manual"]
    prompt: str
    fields: Mapping[str, str]


class CardFacts(Record):
    repo: str
    pretty_name: str
    version: str
    simulated: bool
    licence: str
    hub_licence: str
    licence_link: str
    language: tuple[str, ...]
    languages: LanguagesFacts | None = None
    tags: tuple[str, ...]
    gating: GatingFacts | None
    configs: tuple[ConfigFacts, ...]
    lineage: tuple[tuple[str, Column], ...] = Field(
        description="columns of all configs"
    )
    example: str = Field(description="a benign row as escaped Markdown, or empty")
    sources: tuple[SourceFacts, ...]
    models: tuple[ModelFacts, ...]
    generations: tuple[GenerationFacts, ...] = Field(
        default=(), description="empty for the first generation"
    )
    policies: Policies
    policies_versions: tuple[CountFacts, ...] = Field(
        description="policy versions that the rows were made with"
    )
    coverage: tuple[CoverageFacts, ...]
    prompt_kinds: tuple[CountFacts, ...]
    pair_kinds: tuple[CountFacts, ...]
    ways_made: tuple[CountFacts, ...] = Field(
        default=(), description="of the prompts; empty if all of them were found"
    )
    length_ratio: float | None = Field(
        description="median of chosen by rejected tokens over the pairs; None without pairs"
    )
    quality: QualityFacts | None
    floors: tuple[FloorFacts, ...] = ()
    evaluation_sets: tuple[EvaluationSetFacts, ...]
    left_out: tuple[LeftOutFacts, ...]
    batches: tuple[str, ...]
    batches_left_out: tuple[BatchFacts, ...]
    batches_overridden: tuple[BatchFacts, ...]
    batches_without_dpo: tuple[BatchFacts, ...] = ()
    batches_of_mixed_recipe: tuple[BatchFacts, ...] = ()
    reasoning: Literal["inline", "field"]

    @property
    def rows(self) -> int:
        return sum(config.rows for config in self.configs)

    @property
    def size(self) -> str:
        """The size class, as the Hub names it."""
        # Each class ends at the next power of ten, and the first one at a thousand.
        for power, name in enumerate(_SIZES, start=3):
            if self.rows < 10**power:
                return name
        return "n>1B"


def render_card(facts: CardFacts, template: str) -> str:
    """Return the card as Markdown, headed by the metadata that the Hub reads.

    Raises:
        SetupError: the template cannot be rendered.
    """
    jinja = Environment(
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 - the card is Markdown, and the filters escape it
    )
    # A team writes templates with these names, so they must stay.
    jinja.filters |= {"cell": _cell, "yaml": _yaml, "demoted": _demote_headings}
    try:
        return jinja.from_string(template).render(facts=facts).strip() + "\n"
    except TemplateError as error:
        raise SetupError(f"the template of the dataset card: {error}") from error


def _cell(value: object) -> str:
    """Return a value as one line of Markdown."""
    if isinstance(value, int):
        return f"{value:,}"
    return escape_inline(str(value))


def _demote_headings(page: str) -> str:
    """Move all headings of a page one level down. Escaped text holds none."""
    return re.sub(r"^#", "##", page, flags=re.MULTILINE)


def _yaml(value: object) -> str:
    """Return a value as JSON, which is also YAML, so that no text can end its line or add a key."""
    text = json.dumps(value, ensure_ascii=False)
    # YAML takes these characters for line breaks or rejects them. JSON keeps them as they are.
    return re.sub(
        "[\x7f-\x9f\u2028\u2029\ufeff]", lambda sign: f"\\u{ord(sign[0]):04x}", text
    )
