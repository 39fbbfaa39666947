"""Models that the command line names: MODEL, or MODEL@SERVER with a server of the settings."""

from collections.abc import Sequence
from itertools import combinations

from aidsafe_dagster.engines.roles import is_speaker
from aidsafe_dagster.recipe.deliberated_cots import agent_name
from aidsafe_dagster.recipe.errors import SetupError, unknown
from aidsafe_dagster.recipe.records import Role
from aidsafe_dagster.settings.schema import Settings

RoleValues = dict[str, str]


def named_model(settings: Settings, name: str) -> RoleValues:
    """Return the settings of a role that this model answers.

    Raises:
        SetupError: no model is named, or there is no such server; names the nearest.
    """
    model, at, server = name.rpartition("@")
    if not at:
        model, server = name, ""
    if not model.strip() or (at and not server):
        raise SetupError(f"'{name}' names no model; it is MODEL or MODEL@SERVER")
    if at and server not in settings.servers:
        # A name that holds the sign itself can be given in the settings.
        raise unknown("server", server, settings.servers, f"{name}, [servers]")
    return {"model": model, "server": server} if server else {"model": model}


def model_variants(
    settings: Settings,
    names: Sequence[str],
    roles: Sequence[str],
    *,
    pairs: bool,
) -> dict[str, dict[str, RoleValues]]:
    """Return the roles of each variant: each model alone, and each two as a mixed pair.

    Args:
        settings: in force.
        names: the models.
        roles: those that a model takes; none: the deliberators.
        pairs: add the mixed pairs, where deliberators are among the roles.

    Raises:
        SetupError: there is no such role.
    """
    chosen = list(roles) or [str(Role.DELIBERATOR)]
    for role in chosen:
        if not is_speaker(role):
            raise unknown("role", role, list(Role), "--role")
    distinct = list(dict.fromkeys(names))
    variants = {}
    for name in distinct:
        model = named_model(settings, name)
        variants[name] = dict.fromkeys(chosen, model)
    has_pairs = str(Role.DELIBERATOR) in chosen and settings.deliberation.agents > 1
    if pairs and has_pairs:
        for one, other in combinations(distinct, 2):
            variants[f"{one} + {other}"] = _pair(settings, one, other, chosen)
    return variants


def _pair(
    settings: Settings, one: str, other: str, roles: Sequence[str]
) -> dict[str, RoleValues]:
    """Return the roles of a pair: deliberators of both models in turn, the rest of the first."""
    models = (named_model(settings, one), named_model(settings, other))
    variant = {role: models[0] for role in roles if role != Role.DELIBERATOR}
    for number in range(settings.deliberation.agents):
        variant[agent_name(number + 1)] = models[number % 2]
    return variant
