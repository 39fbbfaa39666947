"""The engine that the settings name, and what every dialogue with it is given.

The setting `engine` chooses: `rehearsal` (no model at all), `vllm` (a server on this machine's
GPUs, see `resources.vllm`) or `endpoint` (any OpenAI-compatible server). This module imports no
Dagster: a tryout works without.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from aidsafe_dagster.engines.protocol import Engine
from aidsafe_dagster.engines.rehearsal.engine import RehearsalEngine
from aidsafe_dagster.engines.rehearsal.planted import planted_path
from aidsafe_dagster.engines.roles import EngineByRole
from aidsafe_dagster.engines.settings import ServerSettings
from aidsafe_dagster.quality.languages import identify_language
from aidsafe_dagster.recipe.dialogue import DialogueContext
from aidsafe_dagster.recipe.records import Role
from aidsafe_dagster.resources.tokens import token_counter
from aidsafe_dagster.settings.role_servers import (
    adapters_by_speaker,
    common_sampling,
    own_server,
    sampling_by_speaker,
)
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.settings.snapshot import SettingsSnapshot

logger = logging.getLogger(__name__)


def make_engine(settings: Settings, log: Callable[[str], None] = logger.info) -> Engine:
    """Return the engine that the settings name, with those of the roles that have their own.

    Raises:
        SetupError: its settings are incomplete.
    """
    engines: dict[str, Engine] = {}
    for servers in _other_servers(settings).values():
        name, first, by_speaker = servers
        engine = _endpoint_engine(first, by_speaker, name)
        engines |= dict.fromkeys(by_speaker, engine)
    main = _main_engine(settings, log)
    return EngineByRole(main, engines) if engines else main


def _main_engine(settings: Settings, log: Callable[[str], None]) -> Engine:
    by_speaker = {}
    for speaker, role in settings.speakers.items():
        if not role.server and not role.base_url:
            by_speaker[speaker] = role.applied_to(settings.endpoint)
    if settings.engine == "vllm":
        from aidsafe_dagster.engines.vllm.engine import VLLMEngine  # noqa: PLC0415

        return VLLMEngine(settings.vllm, settings.endpoint, by_speaker, log)
    if settings.engine == "endpoint":
        return _endpoint_engine(settings.endpoint, by_speaker)
    return RehearsalEngine(settings.rehearsal, planted_path(settings.home))


def _endpoint_engine(
    server: ServerSettings,
    by_speaker: Mapping[str, ServerSettings],
    name: str = "endpoint",
) -> Engine:
    # An HTTP client takes long to import, and the rehearsal needs none.
    from aidsafe_dagster.engines.endpoint import EndpointEngine  # noqa: PLC0415

    return EndpointEngine(server, by_speaker, name)


def _other_servers(
    settings: Settings,
) -> dict[str, tuple[str, ServerSettings, dict[str, ServerSettings]]]:
    """Return name, settings, and settings by role of each server that roles have of their own."""
    servers: dict[str, tuple[str, ServerSettings, dict[str, ServerSettings]]] = {}
    for speaker, role in settings.speakers.items():
        named = own_server(settings, role)
        if named is None:
            continue
        name, changed = named
        _, _, by_speaker = servers.setdefault(name, (name, changed, {}))
        by_speaker[speaker] = changed
    return servers


def make_dialogue_context(
    snapshot: SettingsSnapshot, engine: Engine
) -> DialogueContext:
    """Return what every dialogue is given.

    Raises:
        SetupError: policies, templates or tokenizer cannot be loaded.
    """
    settings = snapshot.settings
    counter = token_counter(settings)
    return DialogueContext(
        policies=snapshot.policies,
        templates=snapshot.templates,
        count_tokens=counter,
        tokens_counted_by=counter.name,
        sampling=common_sampling(settings),
        sampling_by_speaker=sampling_by_speaker(settings),
        servers=_server_labels(settings, engine),
        bounds=settings.answers,
        bad_text=settings.checks,
        # Simulated text is English, whatever the prompt's language.
        language_of=None if engine.simulated else identify_language,
        seed=settings.seed,
        engine=engine.name,
        simulated=engine.simulated,
        generation=settings.generation.number,
        adapters=adapters_by_speaker(settings),
        second_policies=snapshot.second_policies,
    )


def _server_labels(settings: Settings, engine: Engine) -> dict[str, str]:
    """Return the server of each role, and of each agent that the settings name."""
    speakers = [*map(str, Role), *settings.roles]
    return {speaker: engine.route(speaker).label for speaker in speakers}


def shares_folder(settings: Settings) -> Path | None:
    """Where runs that use the same engine divide its slots; None: the rehearsal has no limit."""
    if settings.engine == "rehearsal":
        return None
    if settings.engine == "endpoint":
        servers = [settings.endpoint.base_url]
    else:
        servers = [settings.vllm.model_dump_json()]
    servers += sorted(role.base_url for role in settings.roles.values())
    for name in sorted({role.server for role in settings.roles.values()} - {""}):
        servers.append(settings.servers[name].base_url)
    # A NUL is in no address, so different lists of servers never join to the same text.
    joined = "\0".join(servers)
    name = hashlib.blake2b(joined.encode(), digest_size=6).hexdigest()
    return settings.home / "engines" / f"{settings.engine}-{name}"
