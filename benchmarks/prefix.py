"""How much of the prompts a server's prefix cache could serve: computed from the messages, in blocks of 16 tokens."""

import asyncio
import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing

from aidsafe_dagster.engines.driver.driver import drive
from aidsafe_dagster.engines.driver.settings import DriverSettings
from aidsafe_dagster.engines.journal import Journal
from aidsafe_dagster.engines.rehearsal.engine import RehearsalEngine
from aidsafe_dagster.recipe.dialogue import Completion, Request
from benchmarks.options import Options, Section
from benchmarks.rows import cases

_BLOCK = 16 * 4  # characters


class Counting(RehearsalEngine):
    """Answers by rule, and counts the blocks of each prompt that an earlier prompt began with as well."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks: Counter[str] = Counter()
        self.seen_before: Counter[str] = Counter()
        self._seen: set[bytes] = set()

    async def complete(self, request: Request, attempt: int) -> Completion:
        for block in _blocks(request):
            self.blocks[request.role] += 1
            self.seen_before[request.role] += block in self._seen
            self._seen.add(block)
        return await super().complete(request, attempt)


def run(options: Options) -> Section:
    rows = options.rows or 500
    engine = Counting()
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(Journal(f"sqlite:///{folder}/journal.sqlite")) as journal,
    ):
        asyncio.run(drive(cases(rows), engine, journal, DriverSettings()))
    lines = [
        (role, *_counted(engine.blocks[role], engine.seen_before[role])) for role in engine.blocks
    ]
    return Section(
        f"Prefix share ({rows} rows)",
        "Share of the prompt tokens, at four characters each, in whole blocks that some earlier prompt began with as "
        "well: what a prefix cache serves that evicts nothing. Answers are the rehearsal engine's.",
        ("role", "prompt tokens", "share"),
        [*lines, ("all", *_counted(engine.blocks.total(), engine.seen_before.total()))],
    )


def _counted(blocks: int, seen: int) -> tuple[str, str]:
    return f"{blocks * 16:,}", f"{seen / blocks:.3f}"


def _blocks(request: Request) -> Iterator[bytes]:
    """A name for each whole block of the prompt and all that stands before it."""
    text, name = "\0".join(message.content for message in request.messages), b""
    for start in range(0, len(text) - _BLOCK + 1, _BLOCK):
        name = hashlib.blake2b(name + text[start : start + _BLOCK].encode(), digest_size=8).digest()
        yield name
