"""The head of the quality report: what was measured, and a warning if no model made the rows."""

from collections.abc import Iterable

import polars as pl

from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.recipe.stages import STAGES
from aidsafe_dagster.reports.frames import Dataset
from aidsafe_dagster.reports.generations import describe_generation
from aidsafe_dagster.reports.mixed_recipes import mixed_recipe_table
from aidsafe_dagster.reports.sections import EMPTY_CELL, format_count, format_quantity

_SIMULATION_WARNING = (
    "Rehearsal: every answer was simulated by rule, none came from a model. The figures show that "
    "the pipeline works. They say nothing about any model. Not for training."
)
_COT_STAGES = (Stage.SEED_COTS, Stage.DELIBERATED_COTS, Stage.REFINED_COTS)


def simulation_warning(dataset: Dataset) -> str:
    """Return the warning that the rows are simulated; empty if models made them."""
    return _SIMULATION_WARNING if dataset.simulated else ""


def describe_dataset(
    dataset: Dataset, grades: pl.DataFrame, policies: Policies
) -> dict[str, str]:
    """Return the facts that head the report, as name → text."""
    prompts = dataset.rows(Stage.PROMPTS, "prompt_id", "source", "licence")
    # Of the stages that write chains of thought. Judges have a line of their own.
    writers = pl.concat(
        [dataset.rows(stage, "engine", "model") for stage in _COT_STAGES]
    )
    n_prompts = format_quantity(prompts.height, "prompt", "prompts")
    n_batches = format_quantity(len(dataset.batches), "batch", "batches")
    titles = ", ".join(policy.title for policy in policies.policies)
    facts = {
        "Dataset": f"{n_prompts} in {n_batches}",
        "Sources": _join_by_frequency(prompts["source"]),
        "Licences": _join_by_frequency(prompts["licence"]),
        "Rows": _describe_rows(dataset),
        "Engine": _join_by_frequency(writers["engine"]),
        "Models": _join_by_frequency(writers["model"]),
        "Judges": _describe_judges(grades),
        "Policies": f"{titles}; version {policies.version}",
    }
    generation = describe_generation(dataset)
    if generation:
        facts["Generation"] = generation
    # Policies may have changed since some rows were made, and the texts beside are the new ones.
    other_versions = _policy_versions(dataset) - {policies.version}
    if other_versions:
        versions = ", ".join(sorted(other_versions))
        facts["Made under other policies"] = f"some rows, under version {versions}"
    mixed = mixed_recipe_table(dataset)
    if mixed:
        mixed_batches = {str(line[0]) for line in mixed.rows}
        facts["Mixed recipe"] = ", ".join(sorted(mixed_batches))
    if dataset.left_out:
        excluded = format_quantity(
            dataset.left_out, "simulated batch", "simulated batches"
        )
        facts["Left out"] = excluded
    return facts


def _describe_rows(dataset: Dataset) -> str:
    kinds = dataset.rows(Stage.FINE_TUNE_SPLITS, "kind")["kind"].to_list()
    refined = format_count(dataset.rows(Stage.REFINED_COTS, "prompt_id").height)
    sft = format_count(kinds.count("sft"))
    dpo = format_count(kinds.count("dpo"))
    return f"{refined} refined; for training: {sft} SFT, {dpo} DPO"


def _describe_judges(grades: pl.DataFrame) -> str:
    judges = grades.select("judge", "model").unique().sort("judge", "model")
    descriptions = map(": ".join, judges.iter_rows())
    return ", ".join(descriptions) or EMPTY_CELL


def _policy_versions(dataset: Dataset) -> set[str]:
    """Return the versions of the policies that the rows were made under."""
    versions: set[str] = set()
    for stage, definition in STAGES.items():
        if "policies_version" in definition.record.model_fields:
            rows = dataset.rows(stage, "policies_version")
            versions.update(rows["policies_version"].drop_nulls().unique())
    return versions


def _join_by_frequency(values: Iterable[str]) -> str:
    """List the distinct values, the most frequent first."""
    counts = pl.Series("value", values, dtype=pl.String).value_counts()
    ordered = counts.sort(["count", "value"], descending=[True, False])
    return ", ".join(ordered["value"].to_list()) or EMPTY_CELL
