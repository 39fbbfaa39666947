"""Slot shares: how the processes of a machine divide the slots of one engine.

Each run is a process. All processes that use the same engine write to one small table how many
slots they could use and how many they hold. Each takes at most its fair share, and at most what the
others leave free. The sum therefore never exceeds the total, not even while a share passes from one
process to another. What a process does not need, the others use. A process that dies drops its
lock, and the next one that looks removes its claim.
"""

import hashlib
import json
import logging
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from pydantic import TypeAdapter, ValidationError

from aidsafe_dagster.primitives.atomic_write import write_text
from aidsafe_dagster.primitives.lock_file import LockFile
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Record

logger = logging.getLogger(__name__)
_MUTEX_TIMEOUT_S = 0.2
"""Short, since the event loop stands still while this process waits for the table."""


class Claim(Record):
    """What one process claims."""

    wanted: int = 0
    """Calls that it could have in flight now."""
    held: int = 0
    """Calls that it may have in flight."""
    answered: int = 0
    """Calls answered so far."""
    since: float = 0.0
    """When it began, in monotonic seconds of the machine."""


_Table = TypeAdapter(dict[str, Claim])


class SlotShares:
    """This process's share of `total` slots.

    Args:
        folder: holds the table, and is the same for all processes that use the engine.
        total: calls that may be in flight over all processes.

    Raises:
        SetupError: the folder cannot be used.
    """

    def __init__(self, folder: Path, total: int) -> None:
        self.folder = folder
        self.total = total
        self.held = 0
        self._has_failed = False
        self._name = f"{os.getpid()}-{uuid4().hex[:8]}"
        self._since = time.monotonic()
        self._mutex = LockFile(folder / "mutex.lock")
        # Held for as long as this process lives: others take a free lock for a dead process.
        self._alive = self._lock_of(self._name)
        # Fails for a moment while another process looks at the new file.
        while not self._alive.try_hold(self._name):
            time.sleep(0.01)

    def answered_before(self, name: str) -> bool:
        """Return whether a model, in a form of request, has ever answered any process."""
        return self._answer_mark(name).exists()

    def note_answer(self, name: str) -> None:
        """Note for all processes that a model has answered."""
        try:
            self._answer_mark(name).touch()
        except OSError as error:
            # Later runs begin slowly again, and nothing else is lost.
            logger.warning("%s: %s", self.folder, error)

    def claim(self, wanted: int, in_flight: int, answered: int) -> int:
        """Claim slots and return how many calls this process may have in flight now."""
        try:
            with self._mutex.hold(self._name, timeout_s=_MUTEX_TIMEOUT_S):
                return self._claim(wanted, in_flight, answered)
        except TimeoutError:
            # Another process is writing just now. What was granted before still holds.
            return self.held
        except SetupError as error:
            # A full disk, say. The next tick tries again.
            if not self._has_failed:
                logger.warning("the slots are not shared for now: %s", error)
            self._has_failed = True
            return self.held

    def close(self) -> None:
        """Withdraw the claim."""
        mutex = self._mutex.hold(self._name, timeout_s=_MUTEX_TIMEOUT_S)
        # If the table cannot be written, the others drop this claim once they find the lock free.
        with suppress(TimeoutError, SetupError), mutex:
            self._write(self._others())
        self._alive.release()

    def _claim(self, wanted: int, in_flight: int, answered: int) -> int:
        others = self._others()
        claim = Claim(
            wanted=max(wanted, in_flight),
            held=self.held,
            answered=answered,
            since=self._since,
        )
        shares = fair_shares({**others, self._name: claim}, self.total)
        held_by_others = sum(other.held for other in others.values())
        free = max(0, self.total - held_by_others)
        allowed = min(shares[self._name], free)
        # A call in flight cannot be taken back.
        self.held = max(allowed, in_flight)
        claim = claim.model_copy(update={"held": self.held})
        self._write({**others, self._name: claim})
        return allowed

    def _others(self) -> dict[str, Claim]:
        """Return the claims of the other processes that are alive."""
        try:
            table = _Table.validate_json((self.folder / "claims.json").read_bytes())
        except (OSError, ValidationError):
            # No table yet, or one of another release. Each process soon writes its claim anew.
            return {}
        others = {}
        for name, claim in table.items():
            if name == self._name:
                continue
            # A dead process holds no lock, and its slots go to the others.
            if self._lock_of(name).is_held():
                others[name] = claim
        return others

    def _answer_mark(self, name: str) -> Path:
        return self.folder / f"answered-{short_hash(name)}"

    def _lock_of(self, name: str) -> LockFile:
        """Return the lock that a process holds while it lives."""
        return LockFile(self.folder / f"{name}.lock", temporary=True)

    def _write(self, table: Mapping[str, Claim]) -> None:
        # Rename, so that a process that is killed here leaves no half table.
        claims = {name: claim.model_dump() for name, claim in table.items()}
        write_text(self.folder / "claims.json", json.dumps(claims), durable=False)


def short_hash(name: str) -> str:
    """Return a name of twelve characters for what may hold any."""
    return hashlib.blake2b(name.encode(), digest_size=6).hexdigest()


def fair_shares(claims: Mapping[str, Claim], total: int) -> dict[str, int]:
    """Divide the slots equally, with a double part for the oldest process.

    No process gets more than it wants. With the double part, runs that began together do not end
    together. While one ends and the next one starts, another has enough work. The remainder goes
    first to those with fewest answers.
    """
    shares = dict.fromkeys(claims, 0)
    oldest = _oldest(claims)
    unsatisfied = sorted(claims, key=lambda name: (claims[name].answered, name))
    while unsatisfied and total:
        parts = len(unsatisfied)
        if oldest in unsatisfied:
            parts += 1
        # At least one, so that a remainder smaller than the number of parts is given out, too.
        part = max(1, total // parts)
        # A copy, since satisfied processes leave the list on the way.
        for name in list(unsatisfied):
            fair = 2 * part if name == oldest else part
            missing = claims[name].wanted - shares[name]
            granted = min(fair, missing, total)
            shares[name] += granted
            total -= granted
            if granted == missing:
                unsatisfied.remove(name)
    return shares


def _oldest(claims: Mapping[str, Claim]) -> str | None:
    """Return the process that began before all others, or None if several began together."""
    by_age = sorted(claims, key=lambda name: claims[name].since)
    if not by_age:
        return None
    if len(by_age) > 1 and claims[by_age[0]].since == claims[by_age[1]].since:
        return None
    return by_age[0]
