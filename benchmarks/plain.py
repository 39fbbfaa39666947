"""The baseline, as one writes it in an afternoon: a coroutine per row, a semaphore, no journal."""

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp

from aidsafe_dagster.recipe.dialogue import Completion, DialogueTask, Request
from aidsafe_dagster.recipe.errors import RowFailed
from aidsafe_dagster.recipe.records import RefinedCot, Usage

ATTEMPTS = 3  # as in the usual client libraries


async def complete_all(
    tasks: list[DialogueTask[RefinedCot]],
    base_url: str,
    slots: int,
    on_row: Callable[[], None],
) -> list[RefinedCot | None]:
    """Return the record of each row, or None for a row that failed."""
    semaphore = asyncio.Semaphore(slots)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0)
    ) as session:

        async def run_row(task: DialogueTask[RefinedCot]) -> RefinedCot | None:
            try:
                request = next(task.dialogue)
                while True:
                    async with semaphore:
                        completion = await _complete(session, base_url, request)
                    request = task.dialogue.send(completion)
            except StopIteration as stop:
                record: RefinedCot = stop.value
                return record
            except (
                aiohttp.ClientError,
                TimeoutError,
                LookupError,
                ValueError,
                RowFailed,
            ):
                return None
            finally:
                on_row()

        return await asyncio.gather(*map(run_row, tasks))


async def _complete(
    session: aiohttp.ClientSession, base_url: str, request: Request
) -> Completion:
    url, payload = f"{base_url}/chat/completions", _payload(request)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            async with session.post(url, json=payload) as response:
                response.raise_for_status()
                body = await response.json()
        except aiohttp.ClientError:
            if attempt == ATTEMPTS:
                raise
            await asyncio.sleep(0.5 * 2**attempt)
        else:
            return _completion(body)
    raise AssertionError("unreachable")


def _payload(request: Request) -> dict[str, Any]:
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
