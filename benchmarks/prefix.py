"""The share of the prompts that a server's prefix cache could serve, in blocks of 16 tokens."""

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
from benchmarks.rows import dialogue_tasks

_BLOCK_TOKENS = 16
_BLOCK = 4 * _BLOCK_TOKENS  # characters


class BlockCounter(RehearsalEngine):
    """Answers by rule, and counts the blocks of each prompt that a prefix cache would hold."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks: Counter[str] = Counter()
        self.cached: Counter[str] = Counter()
        self._cache: set[bytes] = set()

    async def complete(self, request: Request, attempt: int) -> Completion:
        for block in _blocks(request):
            self.blocks[request.role] += 1
            self.cached[request.role] += block in self._cache
            self._cache.add(block)
        return await super().complete(request, attempt)


def run(options: Options) -> Section:
    rows = options.rows or 500
    engine = BlockCounter()
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(Journal(f"sqlite:///{folder}/journal.sqlite")) as journal,
    ):
        asyncio.run(drive(dialogue_tasks(rows), engine, journal, DriverSettings()))
    lines = []
    for role, blocks in engine.blocks.items():
        lines.append(_line(role, blocks, engine.cached[role]))
    lines.append(_line("all", engine.blocks.total(), engine.cached.total()))
    return Section(
        f"Prefix share ({rows} rows)",
        "Share of the prompt tokens, at four characters each, in whole blocks that some earlier "
        "prompt began with as well: what a prefix cache serves that evicts nothing. Answers are "
        "the rehearsal engine's.",
        ("role", "prompt tokens", "share"),
        lines,
    )


def _line(role: str, blocks: int, cached: int) -> tuple[str, str, str]:
    return role, f"{blocks * _BLOCK_TOKENS:,}", f"{cached / blocks:.3f}"


def _blocks(request: Request) -> Iterator[bytes]:
    """Hash each whole block of the prompt together with everything before it."""
    text = "\0".join(message.content for message in request.messages)
    block_hash = b""
    for start in range(0, len(text) - _BLOCK + 1, _BLOCK):
        block = text[start : start + _BLOCK].encode()
        block_hash = hashlib.blake2b(block_hash + block, digest_size=8).digest()
        yield block_hash
