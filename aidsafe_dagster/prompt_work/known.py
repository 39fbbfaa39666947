"""All prompts of a dataset: what a new one must not repeat."""

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.translations import translated_prompts
from aidsafe_dagster.recipe.records import Prompt
from aidsafe_dagster.sources.tables import INGESTED


def known_prompts(lake: Lake) -> list[Prompt]:
    """Return the prompts that were ever ingested, and those of translations.

    Raises:
        SetupError: a file of the lake is damaged.
    """
    prompts: list[Prompt] = []
    for batch in lake.batches(INGESTED):
        prompts.extend(lake.records(INGESTED, batch, Prompt))
    prompts.extend(translated_prompts(lake))
    return prompts
