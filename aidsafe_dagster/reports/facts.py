"""What was measured: dataset, engine, models, policies; and the warning when it was not a model that spoke."""

from collections.abc import Iterable

import polars as pl

from aidsafe_dagster.lake.lake import RECORDS
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.reports.frames import Dataset
from aidsafe_dagster.reports.sections import EMPTY_CELL, format_count

_SIMULATED = (
    "Rehearsal: every answer was simulated by rule, none came from a model. The figures show that the pipeline works, "
    "and say nothing of any model. Not for training."
)
_LIVE = (Stage.SEED_COTS, Stage.DELIBERATED_COTS, Stage.REFINED_COTS)


def simulated_warning(dataset: Dataset) -> str:
    """Empty when models made the rows."""
    return _SIMULATED if dataset.simulated else ""


def facts(dataset: Dataset, lines: pl.DataFrame, policies: Policies) -> dict[str, str]:
    """Names and values, as text."""
    prompts = dataset.rows(Stage.PROMPTS, "prompt_id", "source", "licence")
    judging = lines.select("judge", "model").unique().sort("judge", "model")
    made = pl.concat([dataset.rows(stage, "engine", "model") for stage in _LIVE])
    found = {
        "Dataset": f"{_plural(prompts.height, 'prompt')} in {_plural(len(dataset.batches), 'batch', 'batches')}",
        "Sources": _named(prompts["source"]),
        "Licences": _named(prompts["licence"]),
        "Rows": _rows(dataset),
        "Engine": _named(made["engine"]),
        "Models": _named(made["model"]),
        "Judges": ", ".join(f"{judge}: {model}" for judge, model in judging.iter_rows()) or EMPTY_CELL,
        "Policies": f"{', '.join(policy.title for policy in policies.policies)}; version {policies.version}",
    }
    other = [version for version in _versions(dataset) if version != policies.version]
    if other:
        found["Made under other policies"] = f"some rows, under version {', '.join(other)}"
    if dataset.left_out:
        found["Left out"] = f"{_plural(dataset.left_out, 'simulated batch', 'simulated batches')}"
    return found


def _rows(dataset: Dataset) -> str:
    kinds = dataset.rows(Stage.FINE_TUNE_SPLITS, "kind")["kind"].to_list()
    refined = dataset.rows(Stage.REFINED_COTS, "prompt_id").height
    return f"{format_count(refined)} refined; to train on: {format_count(kinds.count('sft'))} SFT, {format_count(kinds.count('dpo'))} DPO"


def _versions(dataset: Dataset) -> list[str]:
    stages = [
        stage for stage, record in RECORDS.items() if "policies_version" in record.model_fields
    ]
    frames = [dataset.rows(stage, "policies_version") for stage in stages]
    return pl.concat(frames)["policies_version"].drop_nulls().unique().sort().to_list()


def _named(values: Iterable[str]) -> str:
    """The different ones, the most frequent first."""
    counts = (
        pl.Series("value", values, dtype=pl.String)
        .value_counts()
        .sort(["format_count", "value"], descending=[True, False])
    )
    return ", ".join(counts["value"].to_list()) or EMPTY_CELL


def _plural(n: int, one: str, many: str = "") -> str:
    return f"{format_count(n)} {one if n == 1 else many or one + 's'}"
