"""Which model servers the settings use, and for which roles."""

from dataclasses import dataclass, replace

from aidsafe_dagster.engines.roles import RoleSettings, for_speaker
from aidsafe_dagster.engines.settings import ServerSettings
from aidsafe_dagster.recipe.dialogue import Sampling
from aidsafe_dagster.recipe.records import Role
from aidsafe_dagster.settings.schema import Settings

_BESIDE = (Role.CANDIDATE, Role.POLICY_EDITOR, Role.TRANSLATOR, Role.PROMPT_WRITER)
_ROLES = tuple(role for role in Role if role not in _BESIDE)
"""Of the recipe. Candidates of an evaluation are set up with it, and not under `[roles]`."""


@dataclass(frozen=True)
class ServerUse:
    """A server and a model of it, as one or more roles use them."""

    name: str
    """'endpoint', that under `[servers]`, or of the first role whose own address it is."""
    table: tuple[str, ...]
    """The table of settings that holds its profile; empty for a role's bare `base_url`."""
    base: ServerSettings
    """The server's own settings."""
    role: RoleSettings
    """What the first of the roles changes of them."""
    sampling: Sampling
    speakers: tuple[str, ...]
    """Roles, and agents of the deliberation."""

    @property
    def settings(self) -> ServerSettings:
        return self.role.applied_to(self.base)

    @property
    def title(self) -> str:
        """The name as the doctor prints it."""
        return "engine" if self.table == ("endpoint",) else f"server {self.name}"

    @property
    def roles(self) -> str:
        """The roles in words: 'every role', 'every role but judge', 'judge, guard'."""
        missing = [role for role in _ROLES if role not in self.speakers]
        if not missing:
            return "every role"
        if len(missing) < len(_ROLES) // 2:
            return f"every role but {', '.join(missing)}"
        return ", ".join(self.speakers)


def servers_in_use(settings: Settings) -> list[ServerUse]:
    """Return each server with each of its models once, the server's own model first."""
    uses: dict[tuple[str, ...], ServerUse] = {}
    agents = [name for name in settings.roles if name not in _ROLES]
    for speaker in (*map(str, _ROLES), *agents):
        use = _use_of(settings, speaker)
        if use is None:
            continue
        key = (*use.table, use.base.base_url, use.base.api_key_env, use.settings.model)
        if key in uses:
            known = uses[key]
            use = replace(known, speakers=(*known.speakers, speaker))
        uses[key] = use
    # The first use of a server sets up the server, and others may then differ from it.
    ordered = list(uses.values())
    ordered.sort(key=lambda use: use.settings.model != use.base.model)
    return ordered


def _use_of(settings: Settings, speaker: str) -> ServerUse | None:
    """Return how a role or an agent uses its server; None if the engine is no such server."""
    role = for_speaker(settings.speakers, speaker, RoleSettings())
    name = speaker
    table: tuple[str, ...] = ()
    if role.server:
        name, table = role.server, ("servers", role.server)
        base = settings.servers[role.server]
    elif role.base_url:
        # It has no table of its own, and so no profile.
        base = ServerSettings(base_url=role.base_url, api_key_env=role.api_key_env)
    elif settings.engine == "endpoint":
        name, table = "endpoint", ("endpoint",)
        base = settings.endpoint
    else:
        return None
    sampling = role.sampling or base.sampling or settings.sampling
    return ServerUse(name, table, base, role, sampling, (speaker,))
