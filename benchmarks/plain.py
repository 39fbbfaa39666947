"""The comparison: what one writes in an afternoon. A coroutine per row, a semaphore, three attempts, no journal."""

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp

from aidsafe_dagster.recipe.dialogue import Completion, DialogueTask, Request
from aidsafe_dagster.recipe.errors import RowFailed
from aidsafe_dagster.recipe.records import RefinedCot, Usage

ATTEMPTS = 3  # the first and two more, as the usual client libraries do


async def gathered(
    cases: list[DialogueTask[RefinedCot]], base_url: str, slots: int, on_row: Callable[[], None]
) -> list[RefinedCot | None]:
    """Per row its record, or None where something went wrong."""
    limit = asyncio.Semaphore(slots)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def row(case: DialogueTask[RefinedCot]) -> RefinedCot | None:
            try:
                request = next(case.dialogue)
                while True:
                    async with limit:
                        completion = await _completed(session, base_url, request)
                    request = case.dialogue.send(completion)
            except StopIteration as stop:
                record: RefinedCot = stop.value
                return record
            except (aiohttp.ClientError, TimeoutError, LookupError, ValueError, RowFailed):
                return None
            finally:
                on_row()

        return await asyncio.gather(*(row(case) for case in cases))


async def _completed(session: aiohttp.ClientSession, base_url: str, request: Request) -> Completion:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            async with session.post(f"{base_url}/chat/completions", json=_body(request)) as reply:
                reply.raise_for_status()
                body = await reply.json()
        except aiohttp.ClientError:
            if attempt == ATTEMPTS:
                raise
            await asyncio.sleep(0.5 * 2**attempt)
        else:
            return _completion(body)
    raise AssertionError("unreachable")


def _body(request: Request) -> dict[str, Any]:
    schema = {"name": str(request.role), "schema": request.schema}
    return {
        "model": "simulated",
        "messages": [message.model_dump() for message in request.messages],
        "response_format": {"type": "json_schema", "json_schema": schema},
        **request.sampling.model_dump(),
    }


def _completion(body: dict[str, Any]) -> Completion:
    usage = body["usage"]
    return Completion(
        text=body["choices"][0]["message"]["content"],
        model=body["model"],
        usage=Usage(
            calls=1,
            prompt_tokens=usage["prompt_tokens"],
            completion_tokens=usage["completion_tokens"],
        ),
    )
