"""The baseline, as one writes it in an afternoon: a coroutine per row, a semaphore, no journal."""

import asyncio
from collections.abc import Callable

import aiohttp

from aidsafe_dagster.recipe.dialogue import Completion, DialogueTask, Request
from aidsafe_dagster.recipe.errors import RowFailed
from aidsafe_dagster.recipe.records import RefinedCot
from benchmarks.chat_bodies import completion_of, payload_of

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
    url, payload = f"{base_url}/chat/completions", payload_of(request)
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
            text = body["choices"][0]["message"]["content"]
            return completion_of(text, body["model"], body["usage"])
    raise AssertionError("unreachable")
