"""Judges that grade their own text. Models tend to score it higher than others do.

A model is known by its name alone: the same weights on another server are the same judge.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from aidsafe_dagster.recipe.records import Stage

WRITING_STAGES = (Stage.SEED_COTS, Stage.DELIBERATED_COTS, Stage.REFINED_COTS)
"""Stages whose models wrote what the dataset is made of."""


@dataclass(frozen=True)
class SelfJudging:
    """A judge's model that took part in writing rows that it graded."""

    model: str
    rows: int
    """Graded rows that it took part in writing."""
    graded: int
    """All rows that it graded."""


def find_self_judging(
    grades: pl.DataFrame, writers: Iterable[pl.DataFrame]
) -> tuple[SelfJudging, ...]:
    """Return the models that graded rows of their own, in the order of their names.

    Args:
        grades: `prompt_id` and `model`, a line per grade.
        writers: of each stage that wrote, `prompt_id` and `model`; a row names one or several.
    """
    graded = grades.select("prompt_id", "model").unique()
    own_ids: dict[str, set[str]] = {}
    for rows in writers:
        names = pl.col("model").str.split(", ")
        written = rows.select("prompt_id", names).explode("model")
        own = graded.join(written, on=["prompt_id", "model"], how="semi")
        for prompt_id, model in own.iter_rows():
            own_ids.setdefault(model, set()).add(prompt_id)
    return tuple(
        SelfJudging(model, len(own_ids[model]), graded.filter(model=model).height)
        for model in sorted(own_ids)
    )


def self_judging_warning(judgings: Iterable[SelfJudging]) -> str:
    """Return a warning in a sentence or two; empty where no model judged itself."""
    shares = [
        f"{judging.model} ({judging.rows:,} of {judging.graded:,} graded rows)"
        for judging in judgings
    ]
    if not shares:
        return ""
    return (
        f"Warning: judged by a model that wrote them: {', '.join(shares)}. "
        "Models tend to score their own text too high"
    )
