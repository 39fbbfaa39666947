"""SlotShares: how the processes of a machine divide the calls that one engine takes at a time.

Each run is a process. All that use the same engine write into one small table what they could use and what they hold,
and each takes no more than its fair share, and no more than the others have left: so the sum never exceeds the whole,
not even while a share passes from one to another. A process that dies drops its lock, whereupon the next to look
strikes it off. What a process does not need, the others use.
"""

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from pydantic import TypeAdapter, ValidationError

from aidsafe_dagster.primitives.atomic_write import write_text
from aidsafe_dagster.primitives.lock_file import LockFile
from aidsafe_dagster.recipe.records import Record

_PATIENCE_S = 0.2


class Claim(Record):
    """One process: calls that it could use now, calls that it may have in flight, and calls answered so far."""

    wanted: int = 0
    held: int = 0
    answered: int = 0
    since: float = 0.0
    """When it began, in monotonic seconds of the machine."""


_Table = TypeAdapter(dict[str, Claim])


class SlotShares:
    """This process's part of `total` calls in flight; `folder` is the same for all that use the engine.

    Raises:
        SetupError: the folder cannot be used.
    """

    def __init__(self, folder: Path, total: int) -> None:
        self.folder, self.total, self.held = folder, total, 0
        self._name, self._since = f"{os.getpid()}-{uuid4().hex[:8]}", time.monotonic()
        self._mutex = LockFile(folder / "mutex.lock")
        self._alive = self._lock_of(self._name)
        while not self._alive.try_hold(self._name):
            time.sleep(0.01)  # another process is looking at the new file

    @property
    def answered_before(self) -> bool:
        """Some process once had an answer from this engine."""
        return (self.folder / "answered").exists()

    def note_answer(self) -> None:
        (self.folder / "answered").touch()

    def claim(self, wanted: int, in_flight: int, answered: int) -> int:
        """Says what this process could use; returns how many calls it may have in flight now."""
        try:
            with self._mutex.hold(self._name, timeout_s=_PATIENCE_S):
                return self._claim(wanted, in_flight, answered)
        except TimeoutError:
            return self.held  # another process is writing just now; what was granted still holds

    def close(self) -> None:
        with suppress(TimeoutError), self._mutex.hold(self._name, timeout_s=_PATIENCE_S):
            self._write(self._others())
        self._alive.release()

    def _claim(self, wanted: int, in_flight: int, answered: int) -> int:
        others = self._others()
        mine = Claim(
            wanted=max(wanted, in_flight), held=self.held, answered=answered, since=self._since
        )
        fair = fair_shares(others | {self._name: mine}, self.total)[self._name]
        left = self.total - sum(claim.held for claim in others.values())
        allowed = max(0, min(fair, left))
        self.held = max(allowed, in_flight)  # a call in flight cannot be taken back
        self._write(others | {self._name: mine.model_copy(update={"held": self.held})})
        return allowed

    def _others(self) -> dict[str, Claim]:
        """The claims of the other living processes."""
        try:
            table = _Table.validate_json((self.folder / "claims.json").read_bytes())
        except (OSError, ValidationError):
            return {}
        return {
            name: claim for name, claim in table.items() if name != self._name and self._lives(name)
        }

    def _lives(self, name: str) -> bool:
        return self._lock_of(name).is_held()

    def _lock_of(self, name: str) -> LockFile:
        return LockFile(self.folder / f"{name}.lock", temporary=True)

    def _write(self, table: Mapping[str, Claim]) -> None:
        text = json.dumps({name: claim.model_dump() for name, claim in table.items()})
        write_text(self.folder / "claims.json", text, durable=False)


def fair_shares(claims: Mapping[str, Claim], total: int) -> dict[str, int]:
    """Equal parts, but a double one to the eldest, and to nobody more than wanted.

    So runs that began together do not end together, and while one ends and the next starts another has work enough.
    What is left over goes first to those answered least so far.
    """
    given, eldest = dict.fromkeys(claims, 0), _eldest(claims)
    hungry = sorted(claims, key=lambda name: (claims[name].answered, name))
    while hungry and total:
        part = max(1, total // (len(hungry) + (eldest in hungry)))
        for name in list(hungry):
            more = min(part * (1 + (name == eldest)), claims[name].wanted - given[name], total)
            given[name] += more
            total -= more
            if given[name] == claims[name].wanted:
                hungry.remove(name)
    return given


def _eldest(claims: Mapping[str, Claim]) -> str | None:
    """None where no one began before all others."""
    first = min((claim.since for claim in claims.values()), default=0.0)
    named = [name for name, claim in claims.items() if claim.since == first]
    return named[0] if len(named) == 1 else None
