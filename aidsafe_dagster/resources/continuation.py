"""Whether the target's server can go on with its reasoning where a belief begins it."""

from aidsafe_dagster.engines.protocol import Engine
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Role
from aidsafe_dagster.resources.context_preflight import MANAGED, REHEARSAL, server_of
from aidsafe_dagster.settings.schema import Settings


def require_continuation(settings: Settings, engine: Engine) -> str:
    """Return how the target's server goes on with a message, in words.

    Raises:
        SetupError: it is not known to, and `pairs.belief_position` needs it.
    """
    position = settings.pairs.belief_position
    if position != "reasoning":
        return f"in position '{position}', which every server takes"
    server = server_of(settings, engine, Role.TARGET)
    if server.name in (REHEARSAL, MANAGED):
        return f"the target's reasoning; the engine '{server.name}' goes on with it"
    fields = ", ".join(server.settings.continuation)
    if not fields:
        raise SetupError(
            "pairs.belief_position = 'reasoning': the target's server "
            f"'{server.name}' is not known to go on with a message. Set its profile to 'vllm', "
            "or its `continuation` to the body fields that make it go on, or "
            "pairs.belief_position to 'tag' or 'system'"
        )
    return f"the target's reasoning; '{server.name}' goes on with it by {fields}"
