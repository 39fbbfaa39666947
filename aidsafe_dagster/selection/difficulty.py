"""How hard each prompt was: by the target's failures, and by the disagreement of agents and judges.

    target      share of its answers that were misled; 1 if it failed without any belief
    agents      share of the turns that revised instead of agreeing
    judges      how far their policy scores of the refined version lie apart, of the most they can

Each is 0 to 1 and null where it is not known. The difficulty is the mean of those that are known.
"""

import polars as pl

from aidsafe_dagster.recipe.records import (
    BELIEF_CANDIDATES,
    METRICS,
    FailureReason,
    Stage,
)
from aidsafe_dagster.reports.frames import Dataset

_POLICY_METRICS = ("policy_to_cot", "policy_to_response")
_SCORE_RANGE = 4
"""From 1 to 5."""
_RESISTED = [
    str(FailureReason.REJECTED_REFUSES),
    str(FailureReason.REJECTED_ABOVE_SCORE),
    str(FailureReason.REJECTED_ANSWERS),
]
"""Why an answer of the target is no rejected side: it did right."""


def difficulties(
    dataset: Dataset, grades: pl.DataFrame, max_violating_score: float
) -> pl.DataFrame:
    """Return `prompt_id`, `difficulty` and `hardness`, for the prompts of which something is known.

    Args:
        dataset: holds the stages.
        grades: a row per grade of a refined version, with the scores as columns.
        max_violating_score: an answer of the target with at most this policy score violates.
    """
    parts = [
        _of_target(dataset, max_violating_score),
        _of_agents(dataset),
        _of_judges(grades),
    ]
    known = pl.concat([part.select("prompt_id") for part in parts]).unique()
    for part in parts:
        known = known.join(part, on="prompt_id", how="left")
    values = ["target", "agents", "judges"]
    words = [f"{name}_words" for name in values]
    return known.select(
        "prompt_id",
        difficulty=pl.mean_horizontal(values),
        hardness=pl.concat_str(words, separator="; ", ignore_nulls=True),
    )


def _of_target(dataset: Dataset, max_violating_score: float) -> pl.DataFrame:
    tried = dataset.rows(
        BELIEF_CANDIDATES, "prompt_id", "kind", "score", "left_out"
    ).drop_nulls("score")
    violates = (pl.col("kind") == "violation") & (
        pl.col("score") <= max_violating_score
    )
    refuses = pl.col("kind") == "needless_refusal"
    failed = (violates | refuses) & ~pl.col("left_out").is_in(_RESISTED)
    misled = tried.group_by("prompt_id").agg(
        answers=pl.len(), failures=failed.sum().cast(pl.Int64)
    )
    plain = dataset.rows(
        Stage.PREFERENCE_PAIRS, "prompt_id", "kind", "plain_scores"
    ).filter(kind="violation")
    worst = pl.col("plain_scores").list.min()
    plain = plain.select("prompt_id", fails_plainly=worst <= max_violating_score)
    both = misled.join(plain, on="prompt_id", how="left")
    # Null where no plain answer was sampled.
    plainly = pl.col("fails_plainly").fill_null(value=False)
    share = pl.col("failures") / pl.col("answers")
    return both.select(
        "prompt_id",
        target=pl.when(plainly).then(1.0).otherwise(share),
        target_words=pl.when(plainly)
        .then(pl.lit("the target failed by itself"))
        .otherwise(
            pl.format("the target failed {} of {} times", "failures", "answers")
        ),
    )


def _of_agents(dataset: Dataset) -> pl.DataFrame:
    def count(rows: pl.DataFrame) -> pl.DataFrame:
        verdicts = pl.col("turns").list.eval(pl.element().struct.field("verdict"))
        counted = rows.select(
            "prompt_id",
            "outcome",
            turns=pl.col("turns").list.len().cast(pl.Int64),
            revised=verdicts.list.count_matches("revise").cast(pl.Int64),
        )
        return counted.filter(pl.col("turns") > 0)

    turns = dataset.map_batches(
        Stage.DELIBERATED_COTS, ("prompt_id", "outcome", "turns"), count
    )
    words = pl.format("agents revised in {} of {} turns", "revised", "turns")
    unsettled = pl.lit("agents ended without agreement")
    return turns.select(
        "prompt_id",
        agents=pl.col("revised") / pl.col("turns"),
        agents_words=pl.when(outcome="budget").then(unsettled).otherwise(words),
    )


def _of_judges(grades: pl.DataFrame) -> pl.DataFrame:
    scored = grades.with_columns(policy=pl.mean_horizontal(_POLICY_METRICS))
    by_prompt = scored.group_by("prompt_id").agg(
        judges_heard=pl.col("judge").n_unique(),
        apart=pl.col("policy").max() - pl.col("policy").min(),
    )
    # One judge cannot disagree.
    several = by_prompt.filter(pl.col("judges_heard") > 1)
    return several.select(
        "prompt_id",
        judges=pl.col("apart") / _SCORE_RANGE,
        judges_words=pl.format("judges lie {} apart", pl.col("apart").round(2)),
    )


def qualities(grades: pl.DataFrame) -> pl.DataFrame:
    """Return `prompt_id`, the mean of the judges by metric, and the mean of all as `quality`."""
    means = grades.group_by("prompt_id").agg(pl.col(METRICS).mean())
    return means.with_columns(quality=pl.mean_horizontal(METRICS))
