"""One attempt at one call with a real endpoint engine."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aidsafe_dagster.engines.endpoint import EndpointEngine
from aidsafe_dagster.engines.protocol import RequestRejected, RetryableError
from aidsafe_dagster.engines.settings import EndpointSettings
from aidsafe_dagster.recipe.dialogue import Completion, Request
from aidsafe_dagster.recipe.errors import SetupError
from tests.engines.dialects import Answer, Reply, a_dialect_server
from tests.engines.test_journal import a_request

Outcome = Completion | RetryableError | RequestRejected | SetupError


def an_engine(base_url: str, **settings: Any) -> EndpointEngine:
    return EndpointEngine(
        EndpointSettings.model_validate(
            {"base_url": base_url, "model": "m", **settings}
        )
    )


def complete(
    base_url: str, attempt: int = 0, request: Request | None = None, **settings: Any
) -> Completion:
    async def work() -> Completion:
        engine = an_engine(base_url, **settings)
        try:
            return await engine.complete(request or a_request(), attempt)
        finally:
            await engine.close()

    return asyncio.run(work())


def outcomes(
    base_url: str, requests: Sequence[Request], **settings: Any
) -> list[Outcome]:
    """Complete requests one after another with one engine, and return what each came to."""

    async def work() -> list[Outcome]:
        engine = an_engine(base_url, **settings)
        results: list[Outcome] = []
        try:
            for request in requests:
                try:
                    results.append(await engine.complete(request, 0))
                except (RetryableError, RequestRejected, SetupError) as error:
                    results.append(error)
        finally:
            await engine.close()
        return results

    return asyncio.run(work())


def outcome_of(
    answer: Answer | Reply,
    attempt: int = 0,
    request: Request | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Outcome:
    """Return what one attempt at a server with one reply comes to."""
    with a_dialect_server(answer) as server:
        try:
            return complete(server.base_url, attempt, request, **(settings or {}))
        except (RetryableError, RequestRejected, SetupError) as error:
            return error
