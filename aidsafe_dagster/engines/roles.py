"""A model per role: one engine for most roles, others for the roles that name their own.

[roles.refiner]
model = "my-adapter"                       # another model, or LoRA adapter, of the same server

[roles.target]
base_url = "http://127.0.0.1:8001/v1"      # another server
model = "Qwen/Qwen2.5-0.5B-Instruct"
"""

from collections.abc import Mapping, Sequence

from aidsafe_dagster.engines.protocol import Engine
from aidsafe_dagster.recipe.dialogue import Completion, Request
from aidsafe_dagster.recipe.records import Record, Role


class RoleSettings(Record):
    base_url: str = ""
    """Empty: the server of the engine."""
    model: str = ""
    api_key_env: str = ""
    revision: str = ""
    """Tells the weights served under the model's name apart from earlier or later ones. Part of
    the journal's key."""


class EngineByRole:
    """Sends the requests of some roles to their own engines, and all others to the main one.

    It goes by the name of the main engine.
    """

    def __init__(
        self, main: Engine, others: Mapping[Role, Engine], revisions: Mapping[Role, str]
    ) -> None:
        self.main = main
        self.others = others
        self.revisions = revisions
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

    def model_for(self, role: Role) -> str:
        model = self._engine_for(role).model_for(role)
        revision = self.revisions.get(role)
        return f"{model}@{revision}" if revision else model

    async def complete(self, request: Request, attempt: int) -> Completion:
        return await self._engine_for(request.role).complete(request, attempt)

    async def close(self) -> None:
        for engine in self._engines():
            await engine.close()

    def _engine_for(self, role: Role) -> Engine:
        return self.others.get(role, self.main)

    def _engines(self) -> Sequence[Engine]:
        # Several roles may share an engine, and a dict keeps the order.
        return (self.main, *dict.fromkeys(self.others.values()))
