"""What is asked of the model servers before a tryout sends its first call.

It imports an HTTP client, which takes long, so a rehearsal does not import this module.
"""

import asyncio
from collections.abc import Callable

from aidsafe_dagster.engines.server_check import ServerCheck, Verdict, check_server
from aidsafe_dagster.recipe.errors import EngineUnusable
from aidsafe_dagster.recipe.stages import STAGES, always_made
from aidsafe_dagster.resources.context_preflight import (
    known_lengths,
    with_known_lengths,
)
from aidsafe_dagster.resources.planned_contexts import check_planned_contexts
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.settings.servers_in_use import ServerUse, servers_in_use
from aidsafe_dagster.settings.snapshot import SettingsSnapshot

_BAD = (Verdict.UNUSABLE, Verdict.NO_SUCH_MODEL)


def check_servers(snapshot: SettingsSnapshot, log: Callable[[str], None]) -> Settings:
    """Check that the servers answer and hold the requests. Not for use inside an event loop.

    Returns:
        The settings, with the context lengths that the servers tell.

    Raises:
        EngineUnusable: a server is away, refuses the key, or does not serve the model; in its own
            words.
        SetupError: a request does not fit its server.
    """
    settings = snapshot.settings
    _require_servers(settings)
    stages = [name for name in always_made() if STAGES[name].dialogue is not None]
    findings, warnings = check_planned_contexts(snapshot, stages)
    for warning in warnings:
        log(warning)
    # An engine that knows the length asks for no longer answer than there is room for.
    return with_known_lengths(settings, known_lengths(findings))


def _require_servers(settings: Settings) -> None:
    uses = servers_in_use(settings)
    checks = asyncio.run(_check_all(uses))
    problems = []
    for use, check in zip(uses, checks, strict=True):
        if check.verdict in _BAD:
            problems.append(f"{use.title}: {check.detail}")
    if problems:
        raise EngineUnusable("\n".join(problems))


async def _check_all(uses: list[ServerUse]) -> list[ServerCheck]:
    return await asyncio.gather(*(check_server(use.settings) for use in uses))
