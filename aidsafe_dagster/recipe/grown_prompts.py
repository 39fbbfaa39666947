"""Prompts grown where a dataset is thin: the settings."""

from typing import Annotated

from pydantic import Field

from aidsafe_dagster.recipe.records import Record


class GrowthSettings(Record):
    target: Annotated[int, Field(ge=1, le=100)] = 3
    """Prompts that each rule is to have of each kind; below that it is thin."""
