"""What each part of the recipe that may be turned down costs, from the rows of finished batches.

A row says how many calls it took, and what it is made of: grades, comparisons, candidates, rounds.
So the calls of a part are counted, and tokens and money are the row's own, in proportion to its
calls. That is exact where the calls of a stage are of one length, and near it elsewhere.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.cot_grades import is_graded
from aidsafe_dagster.recipe.records import BELIEF_CANDIDATES, Role, Stage, Usage

_CALLS_OF_A_CANDIDATE = 2
"""The belief and the target's answer. Each judge adds one."""
_GRADED_SHARE = 0.2
"""That four rows in five are left out for; the floors of the score gate have to be off."""
_COLUMNS = {
    Stage.DELIBERATED_COTS: ("turns",),
    Stage.COT_GRADES: ("grades", "comparisons"),
    Stage.PREFERENCE_PAIRS: ("plain_scores",),
}


@dataclass(frozen=True)
class Part:
    """A part of the recipe, with the setting that leaves it out."""

    name: str
    setting: str
    stage: Stage
    calls_of: Callable[[Mapping[str, Any], "_Tried"], float]
    """Returns how many of a row's calls belong to the part."""


@dataclass(frozen=True)
class PartCost:
    """What a part took of the measured prompts, as a sum over them."""

    name: str
    setting: str
    calls: float = 0.0
    tokens_in: float = 0.0
    tokens_out: float = 0.0
    cost: float = 0.0

    def plus(self, usage: Usage, share: float) -> "PartCost":
        return PartCost(
            self.name,
            self.setting,
            self.calls + usage.calls * share,
            self.tokens_in + usage.prompt_tokens * share,
            self.tokens_out + usage.completion_tokens * share,
            self.cost + usage.cost * share,
        )

    def scaled(self, factor: float) -> "PartCost":
        return PartCost(
            self.name,
            self.setting,
            self.calls * factor,
            self.tokens_in * factor,
            self.tokens_out * factor,
            self.cost * factor,
        )


@dataclass(frozen=True)
class _Tried:
    """Candidates that were tried on a prompt."""

    later: int = 0
    """Of the second iteration and after."""
    further: int = 0
    """Beyond the first of their iteration."""
    judges: int = 1


def _later_rounds(row: Mapping[str, Any], _: _Tried) -> float:
    return len([turn for turn in row["turns"] or () if turn["round"] > 1])


def _outside_a_share(row: Mapping[str, Any], _: _Tried) -> float:
    derivation = row.get("derivation") or {}
    is_twin = derivation.get("method") == "benign_twin"
    if is_graded(row["prompt_id"], _GRADED_SHARE, is_twin=is_twin):
        return 0
    return float(row["usage"]["calls"])


def _other_versions(row: Mapping[str, Any], _: _Tried) -> float:
    others = [one for one in row["grades"] or () if one["version"] != "refined"]
    return len(others) + 2 * len(row["comparisons"] or ())


def _second_judge(row: Mapping[str, Any], _: _Tried) -> float:
    judge = str(Role.SECOND_JUDGE)
    grades = [one for one in row["grades"] or () if one["judge"] == judge]
    comparisons = [one for one in row["comparisons"] or () if one["judge"] == judge]
    return len(grades) + 2 * len(comparisons)


def _later_iterations(_: Mapping[str, Any], tried: _Tried) -> float:
    return tried.later * (_CALLS_OF_A_CANDIDATE + tried.judges)


def _further_candidates(_: Mapping[str, Any], tried: _Tried) -> float:
    return tried.further * (_CALLS_OF_A_CANDIDATE + tried.judges)


def _plain_sampling(row: Mapping[str, Any], tried: _Tried) -> float:
    return len(row.get("plain_scores") or ()) * (1 + tried.judges)


PARTS = (
    Part(
        "rounds after the first",
        "deliberation.max_rounds = 1",
        Stage.DELIBERATED_COTS,
        _later_rounds,
    ),
    Part(
        "grading of four rows in five",
        f"grading.share = {_GRADED_SHARE}",
        Stage.COT_GRADES,
        _outside_a_share,
    ),
    Part(
        "grades of other versions, comparisons",
        "grading.compared = 0",
        Stage.COT_GRADES,
        _other_versions,
    ),
    Part("the second judge", "grading.judges = 1", Stage.COT_GRADES, _second_judge),
    Part(
        "beliefs after the first iteration",
        "pairs.iterations = 1",
        Stage.PREFERENCE_PAIRS,
        _later_iterations,
    ),
    Part(
        "further candidates of an iteration",
        "pairs.candidates = 1",
        Stage.PREFERENCE_PAIRS,
        _further_candidates,
    ),
    Part(
        "plain sampling",
        "pairs.plain_share = 0",
        Stage.PREFERENCE_PAIRS,
        _plain_sampling,
    ),
)
"""They overlap where two settings leave out the same calls, so their costs do not add up."""


def part_costs(lake: Lake, batches: Sequence[str]) -> list[PartCost]:
    """Return what each part took in these batches, failed pairs included; parts without calls too.

    Raises:
        SetupError: a file is damaged.
    """
    costs = []
    for part in PARTS:
        cost = PartCost(part.name, part.setting)
        for batch in batches:
            cost = _add_batch(cost, part, lake, batch)
        costs.append(cost)
    return costs


def _add_batch(cost: PartCost, part: Part, lake: Lake, batch: str) -> PartCost:
    if not lake.has(part.stage, batch):
        return cost
    names = ("prompt_id", "usage", *_COLUMNS[part.stage])
    # Rows of an older release were not made from others.
    rows = lake.rows(part.stage, batch, [*names, "derivation"])
    # Without its columns, an older release says nothing of the part.
    if not set(names) <= set(rows.columns):
        return cost
    tried = _tried(lake, batch)
    records = list(rows.iter_rows(named=True))
    if part.stage == Stage.PREFERENCE_PAIRS:
        # A search that led to no pair tried candidates as well.
        failures = lake.failures(part.stage, batch).select("prompt_id", "usage")
        records += failures.iter_rows(named=True)
    for row in records:
        usage = Usage(**row["usage"])
        calls = part.calls_of(row, tried.get(row["prompt_id"], _Tried()))
        if usage.calls:
            cost = cost.plus(usage, min(1.0, calls / usage.calls))
    return cost


def _tried(lake: Lake, batch: str) -> dict[str, _Tried]:
    if not lake.has(BELIEF_CANDIDATES, batch):
        return {}
    rows = lake.rows(BELIEF_CANDIDATES, batch)
    # An older release kept the candidates without their grades.
    if "grades" not in rows.columns:
        return {}
    counts = rows.group_by("prompt_id").agg(
        later=(pl.col("iteration") > 1).sum(),
        further=(pl.col("number") > 1).sum(),
        judges=pl.col("grades").list.len().max(),
    )
    tried = {}
    for prompt_id, later, further, judges in counts.iter_rows():
        tried[prompt_id] = _Tried(later, further, judges or 0)
    return tried
