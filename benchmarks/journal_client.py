"""A process that looks up and records calls in a journal, as a run does, and does nothing else.

It says when it is ready, waits for a line, works, says its seconds and its CPU seconds, and waits
again.

python -m benchmarks.journal_client URL SCOPE NAME CALLS CALLS_AT_A_TIME
"""

import asyncio
import random
import sys
import time
from contextlib import closing

from aidsafe_dagster.engines.driver.async_journal import AsyncJournal
from aidsafe_dagster.engines.journal import Entry, Journal
from aidsafe_dagster.primitives.advisory_lock import AdvisoryLock
from aidsafe_dagster.recipe.dialogue import Completion, Message, Request, Sampling
from aidsafe_dagster.recipe.records import Role, Stage, Usage
from benchmarks.process import cpu_seconds

_TEXT = "a careful reply names the risk and offers a safe path; " * 6
"""About as long as an answer of the simulated server."""


async def work(journal: Journal, name: str, calls: int, at_a_time: int) -> None:
    """Look up calls that nobody has made, and record them."""
    asynchronous = AsyncJournal(journal)
    numbers = iter(range(calls))
    draw = random.Random(name)

    async def make_calls() -> None:
        for number in numbers:
            key = f"{draw.getrandbits(128):032x}"
            if await asynchronous.find(key) is None:
                await asynchronous.record(_entry(key, number))

    await asyncio.gather(*(make_calls() for _ in range(at_a_time)))
    await asynchronous.close()


def _entry(key: str, number: int) -> Entry:
    request = Request(
        prompt_id=f"p{number // 20:015}",
        stage=Stage.DELIBERATED_COTS,
        role=Role.DELIBERATOR,
        turn=number % 20,
        messages=(Message(role="user", content="Hello"),),
        schema={},
        sampling=Sampling(),
        seed=0,
        draw=0,
    )
    usage = Usage(calls=1, prompt_tokens=900, cached_tokens=800, completion_tokens=60)
    completion = Completion(text=_TEXT, model="simulated", usage=usage)
    return Entry(key, request, completion, 1.2)


def main(url: str, scope: str, name: str, calls: int, at_a_time: int) -> None:
    # A run records behind the lock of its batch.
    lock = AdvisoryLock(url, scope, f"batch {name}")
    with lock.hold(name), closing(Journal(url, lock)) as journal:
        _say("ready")
        cpu_s, started = cpu_seconds(), time.monotonic()
        asyncio.run(work(journal, name, calls, at_a_time))
        seconds = time.monotonic() - started
        # What the database server spent is read while the connection is there.
        _say(f"{seconds} {cpu_seconds() - cpu_s}")


def _say(line: str) -> None:
    """Write a line, and wait for one, or for the end of the input."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
    sys.stdin.readline()


if __name__ == "__main__":
    url, scope, name, calls, at_a_time = sys.argv[1:]
    main(url, scope, name, int(calls), int(at_a_time))
