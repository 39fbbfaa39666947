"""A sample of deliberations to read, with everything that is known of each.

Chosen without a look at quality: by turns from each kind of prompt and each way to end, in the order of the prompt ids,
which are hashes. The same data gives the same sample.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import polars as pl

from aidsafe_dagster.recipe.records import (
    CotGrades,
    DeliberatedCot,
    Judgement,
    PreferencePair,
    RefinedCot,
    SeedCot,
    SingleLlmCot,
    Stage,
    Thought,
    Turn,
)
from aidsafe_dagster.reports.frames import Dataset, read_records

UNKNOWN = "not graded"


@dataclass(frozen=True)
class Exchange:
    """One turn as it is read: who said what in which round. The seed is round 0 and has no turn."""

    agent: str
    round: int
    turn: Turn | None
    thoughts: tuple[Thought, ...]


@dataclass(frozen=True)
class SampledDeliberation:
    """One prompt's whole story; what was not made, or not by this release, is None."""

    kind: str
    """Kind of the prompt."""
    ended: str
    refined: RefinedCot
    exchanges: tuple[Exchange, ...]
    judgements: Mapping[int, Judgement]
    """By number of the deliberated thought."""
    seed: SeedCot | None = None
    grades: CotGrades | None = None
    pair: PreferencePair | None = None
    single_llm: SingleLlmCot | None = None


def sample(dataset: Dataset, most: int) -> list[SampledDeliberation]:
    """At most so many deliberations."""
    chosen = choose(dataset, most)
    ids = {prompt_id for prompt_id, _, _ in chosen}
    refined = read_records(dataset, Stage.REFINED_COTS, RefinedCot, ids)
    deliberated = read_records(dataset, Stage.DELIBERATED_COTS, DeliberatedCot, ids)
    seeds = read_records(dataset, Stage.SEED_COTS, SeedCot, ids)
    grades = read_records(dataset, Stage.COT_GRADES, CotGrades, ids)
    pairs = read_records(dataset, Stage.PREFERENCE_PAIRS, PreferencePair, ids)
    baselines = read_records(dataset, Stage.SINGLE_LLM_COTS, SingleLlmCot, ids)
    return [
        SampledDeliberation(
            kind,
            ended,
            row,
            exchanges(
                row.deliberated_thoughts,
                deliberated[prompt_id].turns if prompt_id in deliberated else (),
            ),
            {judgement.thought: judgement for judgement in row.judgements},
            seeds.get(prompt_id),
            grades.get(prompt_id),
            pairs.get(prompt_id),
            baselines.get(prompt_id),
        )
        for prompt_id, kind, ended in chosen
        if (row := refined.get(prompt_id))
    ]


def choose(dataset: Dataset, most: int) -> list[tuple[str, str, str]]:
    """Prompt id, kind of prompt and how its deliberation ended, of the rows to show."""
    rows = dataset.rows(Stage.REFINED_COTS, "prompt_id").unique()
    kinds = dataset.rows(Stage.COT_GRADES, "prompt_id", "prompt_kind")
    ends = dataset.rows(Stage.DELIBERATED_COTS, "prompt_id", "outcome", "stalled").select(
        "prompt_id", pl.when("stalled").then(pl.lit("stalled")).otherwise("outcome").alias("ended")
    )
    known = rows.join(kinds, on="prompt_id", how="left").join(ends, on="prompt_id", how="left")
    named = known.with_columns(
        pl.col("prompt_kind").fill_null(UNKNOWN), pl.col("ended").fill_null("unknown")
    )
    groups = named.sort("prompt_id").partition_by(
        ["prompt_kind", "ended"], as_dict=True, maintain_order=True
    )
    return list(_in_turn([groups[key].rows() for key in sorted(groups)]))[:most]


def _in_turn(groups: Sequence[Sequence[tuple[str, str, str]]]) -> Iterator[tuple[str, str, str]]:
    for taken in zip_longest(*groups):
        yield from (row for row in taken if row is not None)


def exchanges(thoughts: Sequence[Thought], turns: Sequence[Turn]) -> tuple[Exchange, ...]:
    """The seed, then the turns in order, each with the thoughts it added."""
    told = {(turn.round, turn.agent): turn for turn in turns}
    spoke = dict.fromkeys([*((t.round, t.agent) for t in thoughts if not t.round), *told])
    spoke |= dict.fromkeys((t.round, t.agent) for t in thoughts)
    return tuple(
        Exchange(agent, round_, told.get((round_, agent)), tuple(_said(thoughts, round_, agent)))
        for round_, agent in spoke
    )


def _said(thoughts: Iterable[Thought], round_: int, agent: str) -> Iterator[Thought]:
    return (thought for thought in thoughts if (thought.round, thought.agent) == (round_, agent))
