"""The settings of a generation: those of the project, with the adapter in the roles that it takes.

A generation is a project of its own, so that every command and the web UI work in it. Its settings
file is written whole: where the project's paths are relative, and where the environment says
something, the values in force are written.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tomlkit

from aidsafe_dagster.engines.roles import RoleSettings
from aidsafe_dagster.engines.settings import ServerSettings
from aidsafe_dagster.engines.vllm.settings import VLLMSettings
from aidsafe_dagster.evaluation.settings import CandidateSettings
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Role
from aidsafe_dagster.settings.role_servers import (
    adapters_by_speaker,
    is_managed,
    server_of,
)
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.training.generation import SpeakingAdapter

BASE = "base"
"""The model under test that no adapter was trained on."""
_HEADER = """\
Generation {number} of the project in {project}.
`aidsafe generation run`, called there, writes this file anew from the settings there until the
generation is finished. Change those, not these.\
"""


def settings_of_generation(
    settings: Settings, number: int, speaker: SpeakingAdapter
) -> Settings:
    """Return the settings of a generation in which an adapter speaks.

    Raises:
        SetupError: the rehearsal engine would answer in place of the adapter.
    """
    generation = settings.generation.model_copy(
        update={"number": number, "speaker": speaker}
    )
    roles = dict(settings.roles)
    for role in generation.roles:
        roles[role] = _role_with(settings, role, speaker)
    training = settings.training
    if generation.start_from == "adapter":
        dpo = training.dpo.model_copy(update={"from_adapter": str(speaker.folder)})
        training = training.model_copy(update={"dpo": dpo})
    changed = settings.model_copy(
        update={
            "generation": generation,
            "roles": roles,
            "training": training,
            "vllm": _with_adapters(settings, [speaker]),
        }
    )
    _require_speaker(changed, speaker)
    return changed


def own_places(settings: Settings, number: int, folder: Path) -> Settings:
    """Return settings under which a generation writes into its own folder.

    The journal stays that of the project.
    """
    lake_url = ""
    # Of a lake in an object store, only a folder of that store is reached by all hosts.
    if "://" in settings.lake_url:
        lake_url = f"{settings.lake_url.rstrip('/')}/_generations/{number}"
    return settings.model_copy(
        update={
            "home": folder / "data",
            "lake_url": lake_url,
            "journal_url": settings.journal,
        }
    )


def with_candidates(
    settings: Settings, project: Settings, adapters: Sequence[SpeakingAdapter]
) -> Settings:
    """Return settings that evaluate the base model, adapters, and what the project names.

    Args:
        settings: of the generation.
        project: its settings; the target there is the base model.
        adapters: those to evaluate.
    """
    models = [_base_candidate(project)]
    for adapter in adapters:
        models.append(_candidate(project, adapter))
    names = {model.name for model in models}
    for model in project.evaluation.models:
        if model.name not in names:
            models.append(model)
    evaluation = settings.evaluation.model_copy(update={"models": tuple(models)})
    return settings.model_copy(
        update={"evaluation": evaluation, "vllm": _with_adapters(settings, adapters)}
    )


def candidate_overrides(settings: Settings) -> dict[str, Any]:
    """Return, as overrides of a run, which models settings evaluate."""
    models = [
        model.model_dump(mode="json", exclude_defaults=True)
        for model in settings.evaluation.models
    ]
    return {
        "evaluation": {"models": models},
        "vllm": {"lora_adapters": dict(settings.vllm.lora_adapters)},
    }


def candidate_name(adapter: SpeakingAdapter) -> str:
    """Return the name of an adapter in reports, which does not hang on how it is served."""
    return f"g{adapter.generation}-{adapter.method}"


def settings_text(settings: Settings, number: int, project: Path) -> str:
    """Return the settings file of a generation."""
    document = tomlkit.document()
    for line in _HEADER.format(number=number, project=project).splitlines():
        document.add(tomlkit.comment(line))
    # The folder of the file is that of the generation, and this is the default there.
    document.update(_values(settings, without={"home"}))
    return tomlkit.dumps(document)


def _role_with(settings: Settings, role: str, speaker: SpeakingAdapter) -> RoleSettings:
    changes = {"model": speaker.name, "revision": speaker.weights}
    present = settings.roles.get(role, RoleSettings())
    if settings.generation.server:
        changes |= {"server": settings.generation.server, "base_url": ""}
    return RoleSettings.model_validate(present.model_dump(exclude_unset=True) | changes)


def _require_speaker(settings: Settings, speaker: SpeakingAdapter) -> None:
    speaking = adapters_by_speaker(settings)
    for role in settings.generation.roles:
        if role in speaking:
            continue
        raise SetupError(
            f"generation.roles: {role} is answered by the rehearsal engine, which serves no "
            f"adapter. Name a server with {speaker.name} in generation.server, or in "
            f"roles.{role}.server, or choose another engine"
        )


def _with_adapters(
    settings: Settings, adapters: Sequence[SpeakingAdapter]
) -> VLLMSettings:
    """Return the settings of the managed server, which serves these adapters besides its own."""
    # Only a server that the runs start themselves is told what to serve.
    if settings.engine != "vllm":
        return settings.vllm
    served = dict(settings.vllm.lora_adapters)
    for adapter in adapters:
        served[adapter.name] = str(adapter.folder)
    return settings.vllm.model_copy(update={"lora_adapters": served})


def _base_candidate(project: Settings) -> CandidateSettings:
    """Return the model that no adapter was trained on, where the adapters are served."""
    model = ""
    if not project.generation.server:
        model = project.roles.get(str(Role.TARGET), RoleSettings()).model
    return CandidateSettings(name=BASE, model=model, **_place(project))


def _candidate(settings: Settings, adapter: SpeakingAdapter) -> CandidateSettings:
    return CandidateSettings(
        name=candidate_name(adapter),
        model=adapter.name,
        adapter=str(adapter.folder),
        **_place(settings),
    )


def _place(settings: Settings) -> dict[str, str]:
    """Return where the adapters are served: where the first role that takes one is asked."""
    if settings.generation.server:
        return {"server": settings.generation.server}
    role = RoleSettings()
    for name in settings.generation.roles:
        role = settings.roles.get(name, role)
    return {
        "server": role.server,
        "base_url": role.base_url,
        "api_key_env": role.api_key_env,
    }


def _values(settings: Settings, without: set[str]) -> dict[str, Any]:
    values = settings.model_dump(
        mode="json", exclude_defaults=True, exclude_none=True, exclude=without
    )
    # A profile fills what the settings leave out, so all that it may fill is said.
    for table, server in _servers_with_profile(settings, values):
        table.update(server)
    return values


def _servers_with_profile(
    settings: Settings, values: Mapping[str, Any]
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    if settings.endpoint.profile:
        yield (
            values["endpoint"],
            settings.endpoint.model_dump(mode="json", exclude_none=True),
        )
    for name, server in settings.servers.items():
        if server.profile:
            yield (
                values["servers"][name],
                server.model_dump(mode="json", exclude_none=True),
            )


def adapter_servers(
    settings: Settings, project: Settings, adapters: Sequence[SpeakingAdapter]
) -> Iterator[tuple[str, ServerSettings]]:
    """Yield, with the model that it should serve, each server that no run starts itself.

    Args:
        settings: of the generation.
        project: its settings.
        adapters: those that will be asked.

    Yields:
        The name of an adapter in reports, and the server that should serve it.
    """
    for adapter in adapters:
        role = RoleSettings(model=adapter.name, **_place(project))
        roles = {**settings.roles, str(Role.CANDIDATE): role}
        asked = settings.model_copy(update={"roles": roles})
        server = server_of(asked, str(Role.CANDIDATE))
        if server is not None and not is_managed(asked, str(Role.CANDIDATE)):
            yield candidate_name(adapter), server
