"""Fine-tune splits: SFT and DPO rows in the format that TRL trains on, split by clusters of near-duplicate prompts.

A cluster is in one split for ever: the split is a function of the cluster's id alone, and a prompt's cluster is settled
when it is ingested, so adding batches moves no row. A prompt that is near to clusters of two splits would leak from one
into the other: it is left out. The SFT and DPO rows of a prompt stay together.
"""

import hashlib
from statistics import fmean
from typing import Literal

from pydantic import Field, model_validator

from aidsafe_dagster.recipe.records import (
    METRICS,
    CotGrades,
    FineTuneRow,
    Message,
    Metric,
    Origin,
    PreferencePair,
    Prompt,
    PromptKind,
    Provenance,
    Record,
    RefinedCot,
    Usage,
)
from aidsafe_dagster.recipe.seed_cots import join_thoughts

Split = Literal["train", "validation", "test"]


class SplitSettings(Record):
    """Shares of the prompts; what is left over is the train split."""

    validation: float = 0.05
    test: float = 0.05
    general_ratio: float | None = Field(default=None, ge=0)
    """Benign SFT rows for each borderline or harmful one, in every split of the dataset; None keeps all of them."""

    @model_validator(mode="after")
    def _leaves_a_train_split(self) -> "SplitSettings":
        if min(self.validation, self.test) < 0 or self.validation + self.test >= 1:
            raise ValueError("validation and test are shares of at least 0 whose sum is below 1")
        return self


class ScoreGate(Record):
    """The least mean score of the judges, 1 to 5, that a refined row needs to be trained on; None asks for none."""

    relevance: float | None = Field(default=None, ge=1, le=5)
    coherence: float | None = Field(default=None, ge=1, le=5)
    completeness: float | None = Field(default=None, ge=1, le=5)
    policy_to_cot: float | None = Field(default=None, ge=1, le=5)
    policy_to_response: float | None = Field(default=None, ge=1, le=5)
    response_to_cot: float | None = Field(default=None, ge=1, le=5)


def refined_scores(grades: CotGrades) -> dict[Metric, float]:
    """The refined CoT's score by metric, mean of the judges."""
    of_refined = [grade for grade in grades.grades if grade.version == "refined"]
    return {
        metric: fmean(getattr(grade, metric).score for grade in of_refined) for metric in METRICS
    }


def find_low_scores(grades: CotGrades | None, gate: ScoreGate) -> str | None:
    """What keeps a row from passing the score gate; None if nothing does."""
    due = {metric: least for metric in METRICS if (least := getattr(gate, metric)) is not None}
    if not due:
        return None
    if grades is None:
        return "no valid grade"
    scores = refined_scores(grades)
    low = [
        f"{metric} {scores[metric]:.2f}, {least:g} is due"
        for metric, least in due.items()
        if scores[metric] < least
    ]
    return "; ".join(low) or None


def splits_near(row: Prompt, settings: SplitSettings) -> tuple[Split, ...]:
    """The splits of all clusters that a prompt is near to; more than one: it must be left out."""
    return tuple(
        sorted(
            {assign_split(cluster, settings) for cluster in (cluster_of(row), *row.near_clusters)}
        )
    )


def cluster_of(row: Origin) -> str:
    return row.cluster or row.prompt_id


def assign_split(cluster: str, settings: SplitSettings) -> Split:
    """The split of a cluster, by its id."""
    digest = hashlib.blake2b(f"split:{cluster}".encode(), digest_size=8).digest()
    place = int.from_bytes(digest) / 2**64
    if place < settings.test:
        return "test"
    return "validation" if place < settings.test + settings.validation else "train"


def join_thinking(cot: str, response: str) -> str:
    """An assistant turn with its reasoning inline, as reasoning models' chat templates expect it."""
    return f"<think>\n{cot}\n</think>\n\n{response}"


def sft_row(refined: RefinedCot, prompt_kind: PromptKind, settings: SplitSettings) -> FineTuneRow:
    """prompt → CoT + response."""
    thinking = join_thoughts(refined.thoughts)
    return FineTuneRow(
        **_lineage(refined),
        kind="sft",
        split=assign_split(cluster_of(refined), settings),
        prompt_kind=prompt_kind,
        messages=(_user(refined.prompt), _assistant(thinking, refined.response)),
        prompt=None,
        chosen=None,
        rejected=None,
        thinking=thinking,
        response=refined.response,
    )


def dpo_row(pair: PreferencePair, settings: SplitSettings) -> FineTuneRow:
    """prompt → chosen and rejected CoT + response."""
    return FineTuneRow(
        **_lineage(pair),
        kind="dpo",
        split=assign_split(cluster_of(pair), settings),
        prompt_kind=pair.prompt_kind,
        messages=None,
        prompt=(_user(pair.prompt),),
        chosen=(_assistant(pair.chosen_cot, pair.chosen_response),),
        rejected=(_assistant(pair.rejected_cot, pair.rejected_response),),
        thinking=pair.chosen_cot,
        response=pair.chosen_response,
    )


def _lineage(row: RefinedCot | PreferencePair) -> dict[str, object]:
    cost = {"usage", "redraws"}  # a split is made without calls of its own
    return row.model_dump(include={*Origin.model_fields, *Provenance.model_fields} - cost) | {
        "usage": Usage()
    }


def _user(text: str) -> Message:
    return Message(role="user", content=text)


def _assistant(cot: str, response: str) -> Message:
    return Message(role="assistant", content=join_thinking(cot, response))
