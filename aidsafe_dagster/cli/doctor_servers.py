"""Whether each model server in use answers."""

import asyncio

from aidsafe_dagster.engines.server_check import (
    ServerCheck,
    Verdict,
    check_server,
    key_state,
    tokenize_dialect,
)
from aidsafe_dagster.engines.server_client import ServerClient, ServerUnusable
from aidsafe_dagster.engines.settings import ServerSettings
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.settings.servers_in_use import ServerUse

_TOKENIZE_TIMEOUT_S = 20.0


def check_use(use: ServerUse) -> ServerCheck:
    """Ask the server for its models. Says what is wrong, and never the key."""
    return asyncio.run(check_server(use.settings))


def describe(use: ServerUse, check: ServerCheck) -> str:
    """Return what the check says, with the roles that use the server."""
    if check.verdict is not Verdict.SERVES:
        return f"{check.detail} (for {use.roles})"
    facts = [f"for {use.roles}"]
    if use.base.profile:
        facts.append(f"profile {use.base.profile}")
    facts.append(key_state(use.settings))
    if check.context_length:
        facts.append(f"context {check.context_length:,} tokens")
    return f"{check.detail} ({', '.join(facts)})"


def counting_problem(settings: ServerSettings) -> str:
    """Say why a server's `/tokenize` does not count; empty if it does."""
    try:
        dialect = asyncio.run(_tokenize_dialect(settings))
    except (SetupError, ServerUnusable) as error:
        return str(error)
    if dialect:
        return ""
    return "/tokenize counts nothing, in neither dialect; set tokenize = false"


async def _tokenize_dialect(settings: ServerSettings) -> str:
    async with ServerClient(settings, _TOKENIZE_TIMEOUT_S) as client:
        return await tokenize_dialect(client)
