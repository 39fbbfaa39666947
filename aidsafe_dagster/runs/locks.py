"""The locks of a project: one per batch, one per run, and one for ingestion.

Each is a locked file for the processes of this host. Where the journal is in PostgreSQL there may
be other hosts, and an advisory lock in the journal's database is held as well.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from aidsafe_dagster.primitives.advisory_lock import AdvisoryLock
from aidsafe_dagster.primitives.held_lock import HeldLock
from aidsafe_dagster.primitives.lock_file import LockFile
from aidsafe_dagster.settings.schema import Settings


def batch_lock(batch: str, settings: Settings) -> HeldLock:
    """Return the lock of a batch: one run works on it at a time, whoever started the run.

    Dagster's own limit covers only what passes through its queue. A run that comes second waits,
    and then finds in lake and journal all that the first one made.
    """
    # A batch's key may hold any character, and a file name may not.
    name = quote(batch, safe="")
    path = _folder(settings) / f"{name}.lock"
    return _among_hosts(LockFile(path, f"batch {batch}"), settings)


def run_lock(run_id: str, settings: Settings, file: Path | None = None) -> HeldLock:
    """Return the lock that a run holds as long as it is alive.

    Args:
        run_id: of Dagster.
        settings: name the project's folder and the journal.
        file: where the run put its locked file, if not in that folder.
    """
    path = file or run_lock_file(run_id, settings)
    return _among_hosts(LockFile(path, f"run {run_id}", temporary=True), settings)


def run_lock_file(run_id: str, settings: Settings) -> Path:
    """Return where a run of these settings has its locked file."""
    return _folder(settings).absolute() / "runs" / f"{run_id}.lock"


def ingestion_lock(settings: Settings) -> HeldLock:
    """Return the lock under which new batches are numbered."""
    return _among_hosts(LockFile(settings.home / "ingest.lock", "ingestion"), settings)


def _folder(settings: Settings) -> Path:
    return settings.home / "locks"


def _among_hosts(file: LockFile, settings: Settings) -> HeldLock:
    # A journal in a file is not shared, so there are no other hosts to keep out.
    if not settings.journal.startswith("postgresql"):
        return file
    # Several projects may share a database, and the lake tells them apart.
    advisory = AdvisoryLock(settings.journal, settings.lake, file.name)
    return _BothLocks(file, advisory)


class _BothLocks(HeldLock):
    """Holds a locked file and then an advisory lock of the same name."""

    def __init__(self, file: LockFile, advisory: AdvisoryLock) -> None:
        super().__init__(file.name)
        self._file = file
        self._advisory = advisory

    @contextmanager
    def hold(
        self,
        holder: str,
        on_wait: Callable[[str], None] = lambda message: None,  # noqa: ARG005
        timeout_s: float | None = None,
    ) -> Iterator[None]:
        with (
            self._file.hold(holder, on_wait, timeout_s),
            self._advisory.hold(holder, on_wait, timeout_s),
        ):
            yield

    def try_hold(self, holder: str) -> bool:
        # The file first: it is cheap, and keeps the processes of one host away from the database.
        if self._file.try_hold(holder) and self._advisory.try_hold(holder):
            return True
        # One of the two alone would keep others out, and nobody would work.
        self.release()
        return False

    def release(self) -> None:
        self._advisory.release()
        self._file.release()

    @property
    def fencing_token(self) -> tuple[int, int] | None:
        return self._advisory.fencing_token

    def confirm(self) -> None:
        self._file.confirm()
        self._advisory.confirm()

    def _is_kept(self) -> bool:
        # Each of the two remembers for itself whether it was lost (`confirm`).
        return True

    def holder(self) -> str | None:
        return self._file.holder() or self._advisory.holder()
