"""One at a time among all hosts: a run at a batch, an ingestion that numbers new ones.

A locked file (`batch_lock.py`) is known to one host. Hosts that share a journal in PostgreSQL share its advisory locks:
such a lock is held by a connection and ends with it. So a dead process holds nothing, and a host that lost its power is
found out by the server within half a minute. A connection that breaks under a living process is opened again; if
another host was faster, this process is interrupted, as if by Ctrl-C: no two go on with one batch.
"""

import hashlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

import sqlalchemy as sa

from aidsafe_dagster.recipe.errors import SetupError, not_installed
from aidsafe_dagster.settings.schema import Settings

logger = logging.getLogger(__name__)
Tell = Callable[[str], None]
LOOK_EVERY_S = 1.0
_SILENCE = {
    "tcp_keepalives_idle": "15s",
    "tcp_keepalives_interval": "5s",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "30s",
}
"""What the server puts up with before it takes a connection for dead."""
_SET = sa.text("SELECT set_config(:name, :value, false)")
_TRY = sa.text("SELECT pg_try_advisory_lock(:key)")
_ASK = sa.text("SELECT 1")
_HOLDER = sa.text(
    "SELECT holder.application_name FROM pg_locks lock JOIN pg_stat_activity holder USING (pid)"
    " WHERE lock.locktype = 'advisory' AND lock.granted AND lock.objsubid = 1 AND holder.datname = current_database()"
    " AND ((lock.classid::bigint << 32) | lock.objid::bigint) = :key"
)


@contextmanager
def hold_advisory_lock(what: str, settings: Settings, tell: Tell) -> Iterator[None]:
    """Holds `what` among the hosts while the block lasts; if another has it, says so once and waits.

    Where the journal is not in PostgreSQL there are no other hosts, and nothing is done.

    Args:
        what: such as 'batch mine-0001'; hosts with the same lake contend for it.
        settings: name journal and lake.
        tell: is told whom this one waits for.

    Raises:
        SetupError: the database cannot be used.
    """
    if not _are_several(settings):
        yield
        return
    lock = _Lock(what, settings)
    try:
        lock.acquire(tell)
        with lock.kept():
            yield
    finally:
        lock.release()


def advisory_lock_is_free(what: str, settings: Settings) -> bool:
    """Nobody holds `what` at this moment.

    Raises:
        SetupError: the database cannot be used.
    """
    return not _are_several(settings) or _Lock(what, settings).is_free()


def _are_several(settings: Settings) -> bool:
    return settings.journal.startswith("postgresql")


class _Lock:
    def __init__(self, what: str, settings: Settings) -> None:
        self._what = what
        digest = hashlib.blake2b(f"{settings.lake}\0{what}".encode(), digest_size=8).digest()
        self._key = {"key": int.from_bytes(digest, signed=True)}
        self._url = settings.journal
        self._connection: sa.Connection | None = None

    def acquire(self, tell: Tell) -> None:
        with self._in_words():
            if self._try():
                return
            tell(f"{self._what} is being worked on by {self._holder()}; waiting for it to end")
            while not self._try():
                time.sleep(LOOK_EVERY_S)

    def is_free(self) -> bool:
        try:
            with self._in_words():
                return self._try()
        finally:
            self.release()

    def release(self) -> None:
        if self._connection is not None:
            with suppress(sa.exc.SQLAlchemyError):
                self._connection.close()
            self._connection.engine.dispose()
            self._connection = None

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Looks after the lock while the block lasts."""
        done = Event()
        keeping = Thread(target=self._keep, args=(done,), daemon=True)
        keeping.start()
        try:
            yield
        finally:
            done.set()
            keeping.join()

    def _keep(self, done: Event) -> None:
        while not done.wait(LOOK_EVERY_S):
            try:
                if not self._has():
                    logger.error("%s was lost to %s; this process ends", self._what, self._holder())
                    os.kill(os.getpid(), signal.SIGINT)
                    return
            except (
                sa.exc.SQLAlchemyError
            ):  # the server is away: the next look opens a new connection
                self.release()

    def _has(self) -> bool:
        if self._connection is None:
            return self._try()
        self._connection.execute(_ASK)
        return True

    def _try(self) -> bool:
        if self._connection is None:
            self._connection = _connect(self._url)
        return bool(self._connection.execute(_TRY, self._key).scalar_one())

    def _holder(self) -> str:
        assert self._connection is not None
        return self._connection.execute(_HOLDER, self._key).scalar() or "another host"

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except ImportError as error:
            raise not_installed(error, f"journal {self._url}", "cluster") from error
        except (sa.exc.SQLAlchemyError, ValueError) as error:
            said = getattr(error, "orig", None) or error
            raise SetupError(
                f"journal {self._url}: cannot be used: {type(error).__name__}: {said}"
            ) from error


def _connect(url: str) -> sa.Connection:
    """A connection that the server gives up soon when this host falls silent, and that says whose it is."""
    engine = sa.create_engine(
        url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT", hide_parameters=True
    )
    connection = engine.connect()
    told = _SILENCE | {"application_name": f"process {os.getpid()} on {socket.gethostname()}"[:63]}
    for name, value in told.items():
        connection.execute(_SET, {"name": name, "value": value})
    return connection
