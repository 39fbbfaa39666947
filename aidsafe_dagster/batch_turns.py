"""Whose turn it is at a batch: one run's at a time, on this host and among all that share the journal."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from aidsafe_dagster.batch_lock import holder_of, working_on
from aidsafe_dagster.hosts_lock import alone_among_hosts, is_free_among_hosts
from aidsafe_dagster.settings import Settings

HELD_TAG = "aidsafe/batch_held_by"
"""Of a run whose own process holds its batch already."""


@contextmanager
def holding(batch: str, settings: Settings, who: str, tell: Callable[[str], None]) -> Iterator[None]:
    """Holds the batch while the block lasts; if another run has it, says so once and waits.

    Args:
        batch: key of the batch.
        settings: name the site's folder and the journal.
        who: what others on this host are told that the batch is held by.
        tell: is told whom this one waits for.
    """
    with working_on(batch, settings.home, who, tell), alone_among_hosts(f"batch {batch}", settings, tell):
        yield


def in_turn(batches: Sequence[str], settings: Settings, who: str, tell: Callable[[str], None]) -> Iterator[str]:
    """Each batch once, held until the next is asked for; what others work on comes last, and may be finished then."""
    left = list(batches)
    while left:
        batch = next((batch for batch in left if _is_free(batch, settings)), left[0])
        left.remove(batch)
        with holding(batch, settings, who, tell):
            yield batch


def _is_free(batch: str, settings: Settings) -> bool:
    return holder_of(batch, settings.home) is None and is_free_among_hosts(f"batch {batch}", settings)
