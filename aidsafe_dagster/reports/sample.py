"""A sample of deliberations to read, with everything that is known about each.

The sample is drawn without regard to quality: round-robin from each kind of prompt and each way to
end, in the order of the prompt ids, which are hashes. The same data gives the same sample.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import NamedTuple

import polars as pl

from aidsafe_dagster.lake.earlier_layouts import to_record
from aidsafe_dagster.recipe.records import (
    BELIEF_CANDIDATES,
    CotGrades,
    DeliberatedCot,
    Judgement,
    PreferencePair,
    RefinedCot,
    SeedCot,
    SingleLlmCot,
    Stage,
    Thought,
    TriedBelief,
    Turn,
)
from aidsafe_dagster.reports.frames import Dataset, read_records

UNKNOWN = "not graded"


@dataclass(frozen=True)
class Exchange:
    """What one agent contributed in one round. The seed is round 0 and has no turn."""

    agent: str
    round: int
    turn: Turn | None
    thoughts: tuple[Thought, ...]


@dataclass(frozen=True)
class SampledDeliberation:
    """Everything about one prompt. What was not made, or not by this release, is None."""

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
    tried: tuple[TriedBelief, ...] = ()
    """The beliefs that were tried, whether or not there is a pair."""
    single_llm: SingleLlmCot | None = None


class _Choice(NamedTuple):
    prompt_id: str
    kind: str
    ended: str


def sample_deliberations(dataset: Dataset, limit: int) -> list[SampledDeliberation]:
    """Draw at most `limit` deliberations."""
    # Whole rows are large, so only those of the sample are read.
    choices = _choose_prompts(dataset, limit)
    ids = {choice.prompt_id for choice in choices}
    refined = read_records(dataset, Stage.REFINED_COTS, RefinedCot, ids)
    deliberated = read_records(dataset, Stage.DELIBERATED_COTS, DeliberatedCot, ids)
    seeds = read_records(dataset, Stage.SEED_COTS, SeedCot, ids)
    grades = read_records(dataset, Stage.COT_GRADES, CotGrades, ids)
    pairs = read_records(dataset, Stage.PREFERENCE_PAIRS, PreferencePair, ids)
    baselines = read_records(dataset, Stage.SINGLE_LLM_COTS, SingleLlmCot, ids)
    tried = _tried_beliefs(dataset, ids)
    sample = []
    for prompt_id, kind, ended in choices:
        row = refined.get(prompt_id)
        # A row of an older release that cannot be read.
        if row is None:
            continue
        turns: tuple[Turn, ...] = ()
        if prompt_id in deliberated:
            turns = deliberated[prompt_id].turns
        judgements = {judgement.thought: judgement for judgement in row.judgements}
        sample.append(
            SampledDeliberation(
                kind=kind,
                ended=ended,
                refined=row,
                exchanges=list_exchanges(row.deliberated_thoughts, turns),
                judgements=judgements,
                seed=seeds.get(prompt_id),
                grades=grades.get(prompt_id),
                pair=pairs.get(prompt_id),
                tried=tuple(tried.get(prompt_id, ())),
                single_llm=baselines.get(prompt_id),
            )
        )
    return sample


def _tried_beliefs(
    dataset: Dataset, ids: Collection[str]
) -> dict[str, list[TriedBelief]]:
    columns = list(TriedBelief.model_fields)
    rows = dataset.rows(BELIEF_CANDIDATES, *columns, prompt_ids=ids)
    tried = defaultdict[str, list[TriedBelief]](list)
    for row in rows.iter_rows(named=True):
        tried[row["prompt_id"]].append(to_record(row, TriedBelief))
    return tried


def _choose_prompts(dataset: Dataset, limit: int) -> list[_Choice]:
    """Choose refined rows in turn from each kind of prompt and each way to end."""
    refined = dataset.rows(Stage.REFINED_COTS, "prompt_id").unique()
    kinds = dataset.rows(Stage.COT_GRADES, "prompt_id", "prompt_kind")
    outcomes = dataset.rows(Stage.DELIBERATED_COTS, "prompt_id", "outcome", "stalled")
    ended = pl.when("stalled").then(pl.lit("stalled")).otherwise("outcome")

    rows = refined.join(kinds, on="prompt_id", how="left")
    rows = rows.join(
        outcomes.select("prompt_id", ended.alias("ended")),
        on="prompt_id",
        how="left",
    )
    rows = rows.with_columns(
        pl.col("prompt_kind").fill_null(UNKNOWN), pl.col("ended").fill_null("unknown")
    )
    groups = rows.sort("prompt_id").partition_by(
        ["prompt_kind", "ended"], as_dict=True, maintain_order=True
    )
    choices = []
    rows_of_groups = [groups[key].rows() for key in sorted(groups)]
    for round_ in zip_longest(*rows_of_groups):
        # A group that is used up gives None.
        choices += [_Choice(*row) for row in round_ if row is not None]
    return choices[:limit]


def list_exchanges(
    thoughts: Sequence[Thought], turns: Sequence[Turn]
) -> tuple[Exchange, ...]:
    """Return the seed, then the turns in order, each with the thoughts that it added."""
    turns_by_place = {(turn.round, turn.agent): turn for turn in turns}
    thoughts_by_place = defaultdict[tuple[int, str], list[Thought]](list)
    for thought in thoughts:
        thoughts_by_place[thought.round, thought.agent].append(thought)
    # A dict keeps the order of first insertion. Turns come before the thoughts of later rounds,
    # so that a turn that added nothing keeps its place.
    seed_places = [place for place in thoughts_by_place if place[0] == 0]
    places = dict.fromkeys([*seed_places, *turns_by_place, *thoughts_by_place])
    exchanges = []
    for place in places:
        round_, agent = place
        own = tuple(thoughts_by_place.get(place, ()))
        exchanges.append(
            Exchange(
                agent,
                round_,
                turns_by_place.get(place),
                own,
            )
        )
    return tuple(exchanges)
