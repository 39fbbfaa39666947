"""Whose turn it is at a batch: one run's at a time, on this host and among all hosts.

A claim is also a fence. Lake and journal confirm it right before each write, so that a process that
was paused, or cut off, for so long that another one took its batch writes nothing more.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from aidsafe_dagster.primitives.held_lock import HeldLock
from aidsafe_dagster.runs.locks import batch_lock
from aidsafe_dagster.settings.schema import Settings

HELD_TAG = "aidsafe/batch_held_by"
"""On a run whose own process held its batch before the run started."""
_claims: dict[str, HeldLock] = {}
"""The locks of the batches that this process holds."""


@contextmanager
def claim_batch(
    batch: str, settings: Settings, holder: str, on_wait: Callable[[str], None]
) -> Iterator[None]:
    """Hold the batch while the block lasts; wait first if another run has it.

    Args:
        batch: key of the batch.
        settings: name the project's folder and the journal.
        holder: how others on this host are told who has the batch.
        on_wait: called once, with a message that names the holder, if this process has to wait.
    """
    lock = batch_lock(batch, settings)
    with lock.hold(holder, on_wait):
        _claims[batch] = lock
        try:
            yield
        finally:
            del _claims[batch]


def claim_of(batch: str | None) -> HeldLock | None:
    """Return the lock by which this process holds the batch; None if it holds none.

    It is good beyond the end of the claim: it tells a batch that was lost from one that was
    released in good order.
    """
    return _claims.get(batch) if batch is not None else None


def claim_each(
    batches: Sequence[str],
    settings: Settings,
    holder: str,
    on_wait: Callable[[str], None],
) -> Iterator[str]:
    """Yield each batch once, held until the next one is requested.

    Batches that others work on come last. They may be finished by then.
    """
    remaining = list(batches)
    # Chosen anew each time, since others begin and finish batches meanwhile.
    while remaining:
        batch = _choose(remaining, settings)
        remaining.remove(batch)
        with claim_batch(batch, settings, holder, on_wait):
            yield batch


def _choose(batches: Sequence[str], settings: Settings) -> str:
    """Return the first batch that is free, or the first one if none is."""
    for batch in batches:
        if not batch_lock(batch, settings).is_held():
            return batch
    return batches[0]
