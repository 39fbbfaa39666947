"""An experiment: variants of the recipe on one sample of prompts, and what came of each prompt."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field

from aidsafe_dagster.recipe.ablations import AblationRow
from aidsafe_dagster.recipe.records import Failure, Record

TARGETS = "targets"


class ExperimentVariant(Record):
    name: str
    parts: Mapping[str, str] = Field(
        description="what its rows were made under: settings, models, policies, templates"
    )


class Experiment(Record):
    """What was compared, and on what. Without times, so the same experiment is the same file."""

    kind: str = Field(description="name of its command")
    variants: tuple[ExperimentVariant, ...] = Field(
        description="the first one is the reference"
    )
    prompt_ids: tuple[str, ...] = Field(
        description="the sample, those that failed included"
    )
    batches: tuple[str, ...]
    floors: Mapping[str, float] = Field(
        description="least scores of a usable row, by metric"
    )
    currency: str = Field(description="of the prices; empty if no server has prices")
    simulated: bool

    @property
    def key(self) -> str:
        """Eight hexadecimal digits; others for other variants, settings, models or prompts."""
        variants = [variant.model_dump() for variant in self.variants]
        text = json.dumps([self.kind, variants, self.prompt_ids], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()

    @property
    def name(self) -> str:
        """The name of its folder and of its page."""
        return f"{self.kind}-{self.key}"


class VariantFailure(Failure):
    """A prompt that brought no graded row, or no search, under one variant."""

    variant: str


class TargetRow(Record):
    """The search for a misleading belief on one prompt, against one target."""

    variant: str = Field(description="name of the target")
    prompt_id: str
    batch: str
    model: str
    kind: str = Field(description="violation or needless_refusal")
    is_misled: bool = Field(description="an answer can be the rejected side of a pair")
    policy_score: float | None = Field(
        description="of the worst answer, 1 to 5; null without a valid answer"
    )
    margin: float | None = Field(description="of the pair; null without one")
    beliefs: int = Field(description="tried")
    iteration_scores: tuple[float | None, ...] = Field(
        description="mean policy score by iteration; null without a valid answer"
    )
    calls: int = Field(description="of the search, grading included")
    cost: float


@dataclass(frozen=True)
class ExperimentResult:
    """An experiment with its rows and failures."""

    experiment: Experiment
    rows: Sequence[AblationRow] | Sequence[TargetRow]
    failures: Sequence[VariantFailure]
