"""A model and a server per role: one server for most roles, others for those that name their own.

[servers.judge]
profile = "openai-reasoning"
base_url = "https://api.openai.com/v1"
api_key_env = "OPENAI_API_KEY"

[roles.judge]
server = "judge"
model = "o4-mini"

[roles.refiner]
model = "my-adapter"                       # another model, or LoRA adapter, of the same server

[roles.deliberator_2]                      # one agent alone
model = "another-model"

A server inherits nothing of another, and no key is sent to a server that names no variable for it.
An agent takes from its role what it does not say itself, unless it has a server of its own.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

from pydantic import Field

from aidsafe_dagster.engines.protocol import Engine, Route
from aidsafe_dagster.engines.settings import ServerSettings
from aidsafe_dagster.recipe.dialogue import Completion, Request, SamplingTable
from aidsafe_dagster.recipe.records import Record, Role

T = TypeVar("T")
_AGENT = re.compile(r"(\w+?)_[1-9]\d*")


class RoleSettings(Record):
    server: str = ""
    """A name under `[servers]`. Empty: the server of the engine."""
    base_url: str = ""
    """In place of `server`, for a server that needs no profile."""
    model: str = ""
    """Empty: that of the server."""
    api_key_env: str = ""
    """Beside `base_url`: name of the environment variable that holds the key."""
    revision: str = ""
    """Tells the weights served under the model's name apart from earlier or later ones. Part of
    the journal's key."""
    sampling: SamplingTable | None = None
    """In place of the server's. A field that is left out here is not sent."""
    reasoning: Literal["off", "keep", "drop"] | None = None
    reasoning_budget: int | None = Field(default=None, ge=1)
    extra_body: Mapping[str, Any] = {}
    """Added to that of the server."""

    def applied_to(self, server: ServerSettings) -> ServerSettings:
        """Return a server's settings with what this role changes."""
        changes: dict[str, Any] = {}
        for name in ("model", "revision", "sampling", "reasoning", "reasoning_budget"):
            value = getattr(self, name)
            if value:
                changes[name] = value
        if self.extra_body:
            changes["extra_body"] = {**server.extra_body, **self.extra_body}
        return server.model_copy(update=changes)

    def on_top_of(self, role: "RoleSettings") -> "RoleSettings":
        """Return these settings of an agent, with those of its role where it says nothing."""
        if self.server or self.base_url:
            return self
        own = {name: getattr(self, name) for name in self.model_fields_set}
        if self.extra_body:
            own["extra_body"] = {**role.extra_body, **self.extra_body}
        return role.model_copy(update=own)


def role_of(speaker: str) -> str:
    """Return the role of an agent ('deliberator_2'), or the role itself."""
    agent = _AGENT.fullmatch(speaker)
    return agent.group(1) if agent else speaker


def is_speaker(name: str) -> bool:
    """Return whether a name is a role, or an agent of the deliberation."""
    is_role = name in set(Role)
    return is_role or (name != role_of(name) and role_of(name) == Role.DELIBERATOR)


def for_speaker(by_speaker: Mapping[str, T], speaker: str, default: T) -> T:
    """Return the value of an agent, else of its role, else the default."""
    if speaker in by_speaker:
        return by_speaker[speaker]
    return by_speaker.get(role_of(speaker), default)


def settings_by_speaker(roles: Mapping[str, RoleSettings]) -> dict[str, RoleSettings]:
    """Return the settings of roles and agents, each complete."""
    complete = {}
    for speaker, settings in roles.items():
        role = role_of(speaker)
        if role != speaker and role in roles:
            complete[speaker] = settings.on_top_of(roles[role])
        else:
            complete[speaker] = settings
    return complete


class EngineByRole:
    """Sends the requests of some roles or agents to their own servers, all others to the main one.

    It goes by the name of the main engine.
    """

    def __init__(self, main: Engine, others: Mapping[str, Engine]) -> None:
        self.main = main
        self.others = others
        self.name = main.name
        self.simulated = main.simulated

    @property
    def slots(self) -> int:
        return sum(engine.slots for engine in self._engines())

    @property
    def gpus(self) -> int:
        return self.main.gpus

    def metrics_url(self) -> str | None:
        return self.main.metrics_url()

    def route(self, speaker: str) -> Route:
        return self._engine_for(speaker).route(speaker)

    async def complete(self, request: Request, attempt: int) -> Completion:
        return await self._engine_for(request.speaker).complete(request, attempt)

    async def close(self) -> None:
        for engine in self._engines():
            await engine.close()

    def _engine_for(self, speaker: str) -> Engine:
        return for_speaker(self.others, speaker, self.main)

    def _engines(self) -> Sequence[Engine]:
        # Several roles may share an engine, and a dict keeps the order.
        return (self.main, *dict.fromkeys(self.others.values()))
