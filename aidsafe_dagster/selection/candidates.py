"""The rows that a selection chooses from: the SFT rows of the train split, with what is known.

Validation and test stay as they are, so that what is trained on a selection is measured on the
same rows as what is trained on all.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import polars as pl

from aidsafe_dagster.recipe.fine_tune_splits import NO_GRADE
from aidsafe_dagster.recipe.format_types import CLOSE, OPEN
from aidsafe_dagster.recipe.general_mix import MixRow, select_general
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import EXCLUSION_REASONS, Stage
from aidsafe_dagster.reports.frames import Dataset
from aidsafe_dagster.reports.grades import grade_rows
from aidsafe_dagster.selection.difficulty import difficulties, qualities
from aidsafe_dagster.selection.records import Count
from aidsafe_dagster.selection.settings import SelectionFloor
from aidsafe_dagster.sources.tables import INGESTED

NO_POLICY = "none"
_COLUMNS = (
    "prompt_id",
    "batch",
    "source",
    "cluster",
    "kind",
    "split",
    "prompt_kind",
    "simulated",
)


@dataclass(frozen=True)
class Candidates:
    rows: pl.DataFrame
    """By prompt id: prompt_id, batch, source, cluster, prompt_kind, prompt (of a conversation, all
    turns), response, policy, quality, missed (the floors that it misses, empty if none),
    difficulty, hardness."""
    accounts: tuple[Count, ...]
    """All prompts, and how many of them are no candidate, by what became of them."""
    general: frozenset[str]
    """Policies under which rows count that no particular policy is about."""
    simulated: bool


def read_candidates(
    dataset: Dataset,
    policies: Policies,
    floor: SelectionFloor,
    max_violating_score: float,
    general_ratio: float | None = None,
) -> Candidates:
    """Read the rows of a dataset.

    Args:
        dataset: the batches to take rows from.
        policies: those in force, which say which of them always apply.
        floor: the scores that are due.
        max_violating_score: an answer of the target with at most this policy score violates.
        general_ratio: benign SFT rows per safety row (`recipe.general_mix`); None keeps all.

    Raises:
        SetupError: a file of the lake is damaged.
    """
    splits = dataset.map_batches(
        Stage.FINE_TUNE_SPLITS, (*_COLUMNS, "thinking", "response"), _sft_rows
    )
    # A selection is a part of what is trained on and published.
    staying = select_general(_mix_rows(splits), general_ratio)
    splits = splits.with_columns(
        is_beyond_mix=~pl.col("prompt_id").is_in(list(staying))
    )
    # Rows whose own text holds a think tag are written in no format.
    rows = splits.filter(~pl.col("ambiguous"), ~pl.col("is_beyond_mix"), split="train")
    refined = dataset.rows(
        Stage.REFINED_COTS,
        *("prompt_id", "prompt", "earlier", "response", "applicable_policies"),
    ).with_columns(prompt=_whole_prompt())
    rows = rows.join(refined, on="prompt_id", how="inner").sort("prompt_id")
    grades = grade_rows(dataset).filter(version="refined")
    scores = qualities(grades)
    hard = difficulties(dataset, grades, max_violating_score)
    rows = rows.join(
        scores, on="prompt_id", how="left", maintain_order="left"
    ).with_columns(missed=_missed(floor))
    rows = rows.join(hard, on="prompt_id", how="left", maintain_order="left")
    general = {policy.id for policy in policies.policies if policy.applies == "always"}
    rows = rows.with_columns(
        pl.col("hardness").fill_null(""),
        policy=_rarest_policies(rows["applicable_policies"], general),
    )
    simulated = bool(rows["simulated"].any())
    columns = (
        *("prompt_id", "batch", "source", "cluster", "prompt_kind", "prompt"),
        *("response", "policy", "quality", "missed", "difficulty", "hardness"),
    )
    accounts = _accounts(dataset, splits, rows.height)
    return Candidates(
        rows.select(columns), accounts, frozenset({*general, NO_POLICY}), simulated
    )


def _sft_rows(rows: pl.DataFrame) -> pl.DataFrame:
    texts = (pl.col("thinking"), pl.col("response"))
    tags = [
        text.str.contains(tag, literal=True) for text in texts for tag in (OPEN, CLOSE)
    ]
    flagged = rows.filter(kind="sft").with_columns(ambiguous=pl.any_horizontal(tags))
    return flagged.drop("thinking", "response")


def _whole_prompt() -> pl.Expr:
    """Return the prompt with the turns before it, which it may mean nothing without."""
    contents = pl.col("earlier").list.eval(pl.element().struct.field("content"))
    # Null where an older release wrote no turns.
    before = contents.list.join("\n\n").replace("", None)
    return pl.concat_str(before, "prompt", separator="\n\n", ignore_nulls=True)


def _mix_rows(splits: pl.DataFrame) -> list[MixRow]:
    return [MixRow(*row) for row in splits.select(MixRow._fields).iter_rows()]


def _missed(floor: SelectionFloor) -> pl.Expr:
    """Return the floors that a row misses, as text."""
    if not floor.floors:
        return pl.lit("")
    missed = []
    for metric, least in floor.floors.items():
        words = pl.format(
            f"{metric} {{}}, {least:g} is due", pl.col(metric).round(2).cast(pl.String)
        )
        missed.append(pl.when(pl.col(metric) < least).then(words))
    low = pl.concat_str(missed, separator="; ", ignore_nulls=True)
    return pl.when(pl.col("quality").is_null()).then(pl.lit(NO_GRADE)).otherwise(low)


def _rarest_policies(applicable: pl.Series, general: Collection[str]) -> pl.Series:
    """Return, for each row, the one of its policies that the fewest rows have.

    A policy that always applies says nothing about a row, unless no other does.
    """
    of_rows: list[list[str] | None] = applicable.to_list()
    counts: Counter[str] = Counter()
    for ids in of_rows:
        counts.update(ids or ())
    rarest = [_rarest(ids or [], counts, general) for ids in of_rows]
    return pl.Series("policy", rarest, dtype=pl.String)


def _rarest(ids: list[str], counts: Mapping[str, int], general: Collection[str]) -> str:
    particular = [policy for policy in ids if policy not in general]

    def rank(policy: str) -> tuple[int, str]:
        return counts[policy], policy

    return min(particular or ids, key=rank, default=NO_POLICY)


def _accounts(
    dataset: Dataset, splits: pl.DataFrame, candidates: int
) -> tuple[Count, ...]:
    """Return how many prompts there are, and where those went that are no candidates."""
    ingested = dataset.lake.all_rows(INGESTED, ["prompt_id", "batch"])
    prompts = 0
    if ingested is not None:
        prompts = ingested.filter(pl.col("batch").is_in(list(dataset.batches))).height
    in_splits = set(splits["prompt_id"])
    failed, left_out = set[str](), set[str]()
    exclusions = [str(reason) for reason in EXCLUSION_REASONS]
    for prompt_id, stage, reason in dataset.failures.select(
        "prompt_id", "stage", "reason"
    ).iter_rows():
        # A prompt without a pair, or without a baseline, has its SFT row all the same.
        if prompt_id in in_splits or stage == Stage.PREFERENCE_PAIRS:
            continue
        (left_out if reason in exclusions else failed).add(prompt_id)
    failed -= left_out
    held_out = splits.filter(pl.col("split") != "train").height
    train = splits.filter(split="train")
    ambiguous = train.filter("ambiguous").height
    beyond_mix = train.filter("is_beyond_mix", ~pl.col("ambiguous")).height
    known = len(failed) + len(left_out) + splits.height
    lost = train.height - ambiguous - beyond_mix - candidates
    return (
        Count(what="prompts of these batches", rows=prompts),
        Count(what="failed at a stage", rows=len(failed)),
        Count(what="left out of the splits", rows=len(left_out)),
        Count(what="validation and test", rows=held_out),
        Count(what="text holds a think tag", rows=ambiguous),
        Count(what="beyond the general mix", rows=beyond_mix),
        Count(what="not in the lake any more", rows=max(0, prompts - known) + lost),
    )
