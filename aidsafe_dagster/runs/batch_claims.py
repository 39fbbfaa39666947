"""Whose turn it is at a batch: one run's at a time, on this host and among all that share the journal."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from aidsafe_dagster.runs.advisory_lock import advisory_lock_is_free, hold_advisory_lock
from aidsafe_dagster.runs.batch_lock import hold_batch_lock, holder_of
from aidsafe_dagster.settings.schema import Settings

HELD_TAG = "aidsafe/batch_held_by"
"""Of a run whose own process holds its batch already."""


@contextmanager
def claim_batch(
    batch: str, settings: Settings, who: str, tell: Callable[[str], None]
) -> Iterator[None]:
    """Holds the batch while the block lasts; if another run has it, says so once and waits.

    Args:
        batch: key of the batch.
        settings: name the site's folder and the journal.
        who: what others on this host are told that the batch is held by.
        tell: is told whom this one waits for.
    """
    with (
        hold_batch_lock(batch, settings.home, who, tell),
        hold_advisory_lock(f"batch {batch}", settings, tell),
    ):
        yield


def claim_each(
    batches: Sequence[str], settings: Settings, who: str, tell: Callable[[str], None]
) -> Iterator[str]:
    """Each batch once, held until the next is asked for; what others work on comes last, and may be finished then."""
    left = list(batches)
    while left:
        batch = next((batch for batch in left if _is_free(batch, settings)), left[0])
        left.remove(batch)
        with claim_batch(batch, settings, who, tell):
            yield batch


def _is_free(batch: str, settings: Settings) -> bool:
    return holder_of(batch, settings.home) is None and advisory_lock_is_free(
        f"batch {batch}", settings
    )
