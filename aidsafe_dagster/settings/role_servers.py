"""Which server, which model and which sampling parameters each role and agent has in the end."""

from aidsafe_dagster.engines.roles import RoleSettings, for_speaker, role_of
from aidsafe_dagster.engines.settings import ServerSettings
from aidsafe_dagster.recipe.dialogue import Sampling
from aidsafe_dagster.recipe.records import Role
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


def adapters_by_speaker(settings: Settings) -> dict[str, str]:
    """Return role or agent → the label of the trained adapter that it speaks with."""
    adapter = settings.generation.speaker
    if adapter is None:
        return {}
    speakers = {}
    for speaker in [*map(str, Role), *_agents(settings)]:
        server = server_of(settings, speaker)
        if server is not None and server.model_name == adapter.label:
            speakers[speaker] = adapter.label
    # A judge or a candidate of that name is asked for other reasons.
    return {name: label for name, label in speakers.items() if _is_heir(settings, name)}


def _agents(settings: Settings) -> list[str]:
    numbers = range(1, settings.deliberation.agents + 1)
    return [f"{Role.DELIBERATOR}_{number}" for number in numbers]


def _is_heir(settings: Settings, speaker: str) -> bool:
    roles = settings.generation.roles
    return speaker in roles or role_of(speaker) in roles


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
