"""The record of what each stage of a batch was made under: table `recipes`, a row per stage."""

from collections.abc import Mapping

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.batch_recipe import StageRecipe
from aidsafe_dagster.recipe.errors import SetupError

RECIPES = "recipes"


def read_recipes(lake: Lake, batch: str) -> Mapping[str, StageRecipe]:
    """Return the record of each stage of a batch, by stage; of a damaged file, nothing."""
    if not lake.has(RECIPES, batch):
        return {}
    try:
        records = lake.records(RECIPES, batch, StageRecipe)
    except SetupError:
        # The rows say that there was a recipe, and are made again if it is another one.
        return {}
    return {record.stage: record for record in records}


def store_recipe(lake: Lake, recipe: StageRecipe) -> None:
    """Record what a stage was made under, in place of what stood there of it.

    Comes after the rows are written. After a kill in between, the rows carry another fingerprint
    than the record.
    """
    recipes = {**read_recipes(lake, recipe.batch), recipe.stage: recipe}
    lake.store(RECIPES, recipe.batch, list(recipes.values()), StageRecipe)
