"""Fine-tune splits: SFT and DPO rows in TRL's format, split by clusters of near-duplicate prompts.

A cluster stays in one split for ever. Its split follows from its id alone, and a prompt gets its
cluster when it is ingested, so new batches move no row. A prompt that is near to clusters of two
splits would leak from one into the other and is left out. The SFT and DPO rows of a prompt share a
split.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Annotated, Literal

from pydantic import Field, model_validator

from aidsafe_dagster.recipe.hash_draw import hash_fraction
from aidsafe_dagster.recipe.records import (
    METRICS,
    CotGrades,
    FineTuneRow,
    Grade,
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
NO_GRADE = "no valid grade"
"""Why a row is left out that no judge graded."""
_LOW_SCORE = re.compile(rf"({'|'.join(METRICS)}) [\d.]+, [\d.]+ is due")


class SplitSettings(Record):
    """Shares of the prompts. The rest is the train split."""

    validation: float = 0.05
    test: float = 0.05
    general_ratio: float | None = Field(default=None, ge=0)
    """Benign SFT rows per borderline or harmful one, in every split. None keeps all of them."""

    @model_validator(mode="after")
    def _leaves_a_train_split(self) -> "SplitSettings":
        if min(self.validation, self.test) < 0 or self.validation + self.test >= 1:
            raise ValueError(
                "validation and test are shares of at least 0 whose sum is below 1"
            )
        return self


NO_FLOOR = 1.0
"""The lowest score there is, so a floor there asks for nothing, not even for a grade."""
Floor = Annotated[float, Field(ge=1, le=5)]


class ScoreGate(Record):
    """The least scores that a refined row needs to become training data.

    Scores are 1 to 5, mean of the judges. A floor of 1 is none. Where a metric has a floor, a row
    without a valid grade is left out.
    """

    relevance: Floor = NO_FLOOR
    coherence: Floor = NO_FLOOR
    completeness: Floor = NO_FLOOR
    policy_to_cot: Floor = NO_FLOOR
    policy_to_response: Floor = 4.0
    response_to_cot: Floor = 4.0

    @property
    def floors(self) -> dict[Metric, float]:
        """The floors in force, by metric."""
        floors: dict[Metric, float] = {}
        for metric in METRICS:
            floor = getattr(self, metric)
            if floor > NO_FLOOR:
                floors[metric] = floor
        return floors


class SplitInputs(Record):
    """What the splits of a batch were made from, besides what each of their rows says."""

    batch: str
    pairs: int | None = Field(
        description="preference pairs that there were; null if they had not been made"
    )
    pairs_fingerprint: str = Field(description="of their partition")
    closed_gate: str = Field(
        description="the gate that kept the DPO rows out; empty if they are in"
    )
    accepted_gate: str = Field(
        description="the closed gate that a person let the DPO rows past; empty if none"
    )
    score_gate: ScoreGate


def refined_scores(grades: CotGrades) -> dict[Metric, float]:
    """Return the refined CoT's score by metric, as the mean of the judges."""
    return mean_scores(_refined_grades(grades))


def mean_scores(grades: Sequence[Grade]) -> dict[Metric, float]:
    """Return the scores of one answer by metric, as the mean of its judges."""
    scores: dict[Metric, float] = {}
    for metric in METRICS:
        scores[metric] = fmean(getattr(grade, metric).score for grade in grades)
    return scores


def _refined_grades(grades: CotGrades) -> list[Grade]:
    return [grade for grade in grades.grades if grade.version == "refined"]


def find_low_scores(grades: CotGrades | None, gate: ScoreGate) -> str | None:
    """Return the scores that keep a row from passing the score gate, as text, or None."""
    return missed_floors(_refined_grades(grades) if grades else (), gate)


def missed_floors(grades: Sequence[Grade], gate: ScoreGate) -> str | None:
    """Return the scores of one answer that keep it from passing the score gate, or None."""
    if not gate.floors:
        return None
    if not grades:
        return NO_GRADE
    scores = mean_scores(grades)
    # All low scores, so that a person who tunes the gate sees what each row falls short of.
    low = []
    for metric, floor in gate.floors.items():
        if scores[metric] < floor:
            low.append(f"{metric} {scores[metric]:.2f}, {floor:g} is due")
    return "; ".join(low) or None


def why_no_twin(row: Origin, grades: CotGrades | None) -> str | None:
    """Return why a benign twin is none after all; None if it is one, or was never to be one."""
    if not row.is_twin or grades is None:
        return None
    if grades.prompt_kind == "harmful":
        return "by its intents it is harmful itself"
    for grade in _refined_grades(grades):
        if grade.refusal != "none":
            return f"a judge finds that the response declines: {grade.refusal}"
    return None


def floors_missed(low_scores: str) -> tuple[str, ...]:
    """Return the metrics that a text of `find_low_scores` names; `NO_GRADE` where it says so."""
    if NO_GRADE in low_scores:
        return (NO_GRADE,)
    return tuple(_LOW_SCORE.findall(low_scores))


@dataclass(frozen=True)
class FloorCounts:
    """Rows that the score gate kept out, by kind of row ("sft", "dpo")."""

    rows: Counter[str]
    missed: Mapping[str, Counter[str]]
    """By kind, the rows by metric; a row that misses two floors counts under both."""

    def total(self, missed: str) -> int:
        """Return the rows of both kinds that missed the floor of a metric."""
        return sum(counts[missed] for counts in self.missed.values())


def count_by_floor(details: Iterable[str]) -> FloorCounts:
    """Count rows below the score gate; a detail is a kind of row and text of `find_low_scores`."""
    rows: Counter[str] = Counter()
    missed: dict[str, Counter[str]] = {"sft": Counter(), "dpo": Counter()}
    for detail in details:
        kind, _, low_scores = detail.partition(": ")
        rows[kind] += 1
        missed[kind].update(floors_missed(low_scores))
    return FloorCounts(rows, missed)


def splits_near(row: Prompt, settings: SplitSettings) -> tuple[Split, ...]:
    """Return the splits of all clusters that a prompt is near to.

    A prompt with more than one of them has to be left out.
    """
    splits = set()
    for cluster in (cluster_of(row), *row.near_clusters):
        splits.add(assign_split(cluster, settings))
    return tuple(sorted(splits))


def cluster_of(row: Origin) -> str:
    """Return the row's cluster. A prompt without near duplicates is a cluster by itself."""
    return row.cluster or row.prompt_id


def assign_split(cluster: str, settings: SplitSettings) -> Split:
    """Return the split of a cluster, which follows from its id alone."""
    position = hash_fraction("split", cluster)
    if position < settings.test:
        return "test"
    if position < settings.test + settings.validation:
        return "validation"
    return "train"


def join_thinking(cot: str, response: str) -> str:
    """Return an assistant turn with its reasoning inline, as chat templates expect it."""
    return f"<think>\n{cot}\n</think>\n\n{response}"


def sft_row(
    refined: RefinedCot, prompt_kind: PromptKind, settings: SplitSettings
) -> FineTuneRow:
    """Return the SFT row: from the prompt to CoT and response."""
    thinking = join_thoughts(refined.thoughts)
    return FineTuneRow(
        **_lineage(refined),
        kind="sft",
        split=assign_split(cluster_of(refined), settings),
        prompt_kind=prompt_kind,
        messages=(*refined.prompt_turns, _assistant(thinking, refined.response)),
        prompt=None,
        chosen=None,
        rejected=None,
        thinking=thinking,
        response=refined.response,
    )


def dpo_row(pair: PreferencePair, settings: SplitSettings) -> FineTuneRow:
    """Return the DPO row: from the prompt to chosen and rejected CoT and response."""
    return FineTuneRow(
        **_lineage(pair),
        kind="dpo",
        split=assign_split(cluster_of(pair), settings),
        prompt_kind=pair.prompt_kind,
        messages=None,
        prompt=pair.prompt_turns,
        chosen=(_assistant(pair.chosen_cot, pair.chosen_response),),
        rejected=(_assistant(pair.rejected_cot, pair.rejected_response),),
        thinking=pair.chosen_cot,
        response=pair.chosen_response,
    )


def question_of(row: FineTuneRow) -> tuple[Message, ...]:
    """Return the turns before the answer: the prompt, and what comes before it."""
    if row.messages is not None:
        return row.messages[:-1]
    return row.prompt or ()


def _lineage(row: RefinedCot | PreferencePair) -> dict[str, object]:
    # Splitting makes no calls, so what the row's own stage cost and mended is not carried over.
    # Reasoning stays behind as well: nothing that is trained on may hold it.
    of_the_stage = {"usage", "redraws", "repaired", "reasoning"}
    columns = {*Origin.model_fields, *Provenance.model_fields} - of_the_stage
    lineage = row.model_dump(include=columns)
    return {**lineage, "usage": Usage()}


def _assistant(cot: str, response: str) -> Message:
    return Message(role="assistant", content=join_thinking(cot, response))
