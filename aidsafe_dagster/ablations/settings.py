"""Settings of the experiments: `aidsafe ablate`."""

from collections.abc import Mapping

from pydantic import Field

from aidsafe_dagster.engines.roles import RoleSettings
from aidsafe_dagster.recipe.records import Record


class AblationSettings(Record):
    sample: int = Field(default=50, ge=1)
    """Prompts of an experiment: the same ones every time, whatever became of them."""
    agents: tuple[int, ...] = (2, 3)
    """Sizes of the round tables that are compared with agents in turn."""
    models: Mapping[str, Mapping[str, RoleSettings]] = {}
    """Variants of `aidsafe ablate models`, by a name of your own: the roles or agents that another
    model answers, as in `[roles]`."""
    targets: Mapping[str, RoleSettings] = {}
    """Further targets of `aidsafe ablate targets`, by a name of your own, as in
    `[roles.target]`."""
