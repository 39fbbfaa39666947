"""One run at a time works on a batch, whoever started it: the daemon, the web UI or a command.

Dagster's own limit holds for what passes its queue alone, and a run that was reported as failed may still be alive. So
a run holds a locked file per batch from before its first step to after its last. The system unlocks what a dead process
held. A run that comes second waits, and then finds in lake and journal all that the first one made.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock, Timeout

_LOOK_EVERY_S = 0.25


@contextmanager
def hold_batch_lock(
    batch: str, home: Path, who: str, tell: Callable[[str], None]
) -> Iterator[None]:
    """Holds the batch while the block lasts; if another run has it, says so once and waits.

    Args:
        batch: key of the batch.
        home: the site's folder of data; the locks lie in `<home>/locks`.
        who: what others are told that the batch is held by.
        tell: is told whom this one waits for.
    """
    lock, holder = _lock(batch, home), _holder_file(batch, home)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        tell(
            f"batch {batch} is being worked on by {holder_of(batch, home) or 'another run'}; waiting for it to end"
        )
        lock.acquire(poll_interval=_LOOK_EVERY_S)
    try:
        holder.write_text(who)
        yield
    finally:
        lock.release()


def holder_of(batch: str, home: Path) -> str | None:
    """Who works on the batch at this moment; None if nobody does."""
    try:
        with _lock(batch, home).acquire(timeout=0):
            return None
    except Timeout:
        holder = _holder_file(batch, home)
        return holder.read_text() if holder.exists() else "another run"


def _lock(batch: str, home: Path) -> FileLock:
    folder = home / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{quote(batch, safe='')}.lock", thread_local=False)


def _holder_file(batch: str, home: Path) -> Path:
    return home / "locks" / f"{quote(batch, safe='')}.holder"
