"""Settings of the selection: how many rows, above which scores, in which shares.

[selection]
rows = 1000

[selection.floor]
policy_to_cot = 4.5

[selection.balance]
kind = { harmful = 2, borderline = 1, benign = 1 }
source = "as_found"
"""

from collections.abc import Mapping
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from aidsafe_dagster.recipe.errors import unknown
from aidsafe_dagster.recipe.fine_tune_splits import Floor, ScoreGate
from aidsafe_dagster.recipe.records import PromptKind, Record

Share = Annotated[float, Field(ge=0)]
Shares = Literal["even", "as_found"] | Mapping[str, Share]
"""How rows are spread over the values of a property: as many of each as there are, in proportion
to what there is, or by weights. A value without a weight gets no row."""


class SelectionFloor(ScoreGate):
    """The least scores that a row needs to be selected; above those of the splits."""

    relevance: Floor = 4.0
    coherence: Floor = 4.0
    completeness: Floor = 4.0
    policy_to_cot: Floor = 4.0
    policy_to_response: Floor = 4.5
    response_to_cot: Floor = 4.5


class BalanceSettings(Record):
    policy: Shares = "even"
    """By the rarest of the policies that apply to a row."""
    kind: Shares = "even"
    """Benign, borderline, harmful."""
    source: Shares = "even"
    language: Shares = "even"
    """By code, such as `en`; `unknown` where it cannot be told."""

    @model_validator(mode="after")
    def _check_weights(self) -> Self:
        for name in DIMENSIONS:
            shares = getattr(self, name)
            if isinstance(shares, Mapping) and not any(shares.values()):
                raise ValueError(
                    f"{name}: the weights are all 0, so no row has a share"
                )
        if isinstance(self.kind, Mapping):
            for kind in self.kind:
                if kind not in get_args(PromptKind):
                    place = "selection.balance.kind"
                    raise unknown("kind", kind, get_args(PromptKind), place)
        return self


Dimension = Literal["policy", "kind", "source", "language"]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)


class SelectionSettings(Record):
    rows: int = Field(default=1000, ge=1)
    """SFT rows to select, of the train split."""
    floor: SelectionFloor = SelectionFloor()
    balance: BalanceSettings = BalanceSettings()
    hard_first: bool = True
    """Of rows that mean about the same, take the hardest; otherwise the one that scores best."""
    tfidf_threshold: float = Field(default=0.6, gt=0, le=1)
    """Cosine of the TF-IDF weights of two prompts from which on they count as the same. It holds
    without an embedding model."""
    embedding_threshold: float = Field(default=0.85, gt=0, le=1)
    """The same for the embeddings of the model in `[embeddings]`."""
