"""CountedEngine: an engine that counts what each prompt took of new calls."""

from collections import defaultdict

from aidsafe_dagster.engines.protocol import Engine, Route
from aidsafe_dagster.recipe.dialogue import Completion, Request
from aidsafe_dagster.recipe.records import Usage


class CountedEngine:
    """Passes everything on. What the journal answers never comes here, so it is not counted."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.name = engine.name
        self.simulated = engine.simulated
        self.usage: dict[str, Usage] = defaultdict(Usage)
        """By prompt id, with its cost."""

    @property
    def slots(self) -> int:
        return self.engine.slots

    @property
    def gpus(self) -> int:
        return self.engine.gpus

    def metrics_url(self) -> str | None:
        return self.engine.metrics_url()

    def route(self, speaker: str) -> Route:
        return self.engine.route(speaker)

    async def complete(self, request: Request, attempt: int) -> Completion:
        completion = await self.engine.complete(request, attempt)
        usage = completion.usage
        cost = self.route(request.speaker).cost(usage)
        self.usage[request.prompt_id] += usage.model_copy(update={"cost": cost})
        return completion

    async def close(self) -> None:
        await self.engine.close()
