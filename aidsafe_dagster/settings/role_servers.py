"""Which server, which model and which sampling parameters each role and agent has in the end."""

from aidsafe_dagster.engines.roles import RoleSettings, for_speaker
from aidsafe_dagster.engines.settings import ServerSettings
from aidsafe_dagster.recipe.dialogue import Sampling
from aidsafe_dagster.settings.schema import Settings

NamedServer = tuple[str, ServerSettings]


def own_server(settings: Settings, role: RoleSettings) -> NamedServer | None:
    """Return name and settings of a server that the role names; None: that of the engine."""
    if role.server:
        return role.server, role.applied_to(settings.servers[role.server])
    if role.base_url:
        # The address is the name: roles at one address share a server.
        server = ServerSettings(base_url=role.base_url, api_key_env=role.api_key_env)
        return role.base_url, role.applied_to(server)
    return None


def server_of(settings: Settings, speaker: str) -> ServerSettings | None:
    """Return the server of a role or agent as it is asked; None: the rehearsal engine answers."""
    role = for_speaker(settings.speakers, speaker, RoleSettings())
    named = own_server(settings, role)
    if named:
        return named[1]
    if settings.engine == "rehearsal":
        return None
    server = role.applied_to(settings.endpoint)
    return settings.vllm.served(server) if settings.engine == "vllm" else server


def is_managed(settings: Settings, speaker: str) -> bool:
    """Tell whether a role or agent is asked at the vLLM server that the engine starts."""
    role = for_speaker(settings.speakers, speaker, RoleSettings())
    return settings.engine == "vllm" and own_server(settings, role) is None


def sampling_by_speaker(settings: Settings) -> dict[str, Sampling]:
    """Return the sampling parameters of roles and agents that have their own."""
    sampling: dict[str, Sampling] = {}
    for speaker, role in settings.speakers.items():
        server = settings.servers.get(role.server)
        own = role.sampling or (server.sampling if server else None)
        if own:
            sampling[speaker] = own
        elif role.server or role.base_url:
            # Another server takes nothing from `[endpoint]`.
            sampling[speaker] = settings.sampling
    return sampling


def common_sampling(settings: Settings) -> Sampling:
    """Return the sampling parameters of everybody who has none of his own."""
    return settings.endpoint.sampling or settings.sampling
