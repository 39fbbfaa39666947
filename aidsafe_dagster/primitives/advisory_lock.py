"""An advisory lock of PostgreSQL: the lock that all hosts with the same database share.

Such a lock belongs to a connection and ends with it, so a dead process holds nothing. The server
gives up a host that lost its power or its network within half a minute. If the connection breaks
under a living process, the process takes the lock again. If another process was faster, this one
is interrupted, as by Ctrl-C: two processes never go on with the same work.
"""

import hashlib
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

import sqlalchemy as sa

from aidsafe_dagster.primitives.held_lock import HeldLock
from aidsafe_dagster.primitives.watchdog import watchdog
from aidsafe_dagster.recipe.errors import SetupError, not_installed

logger = logging.getLogger(__name__)
POLL_S = 1.0
_CONNECTION_SETTINGS = {
    "tcp_keepalives_idle": "15s",
    "tcp_keepalives_interval": "5s",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "30s",
}
"""How long the server waits for a silent host: about 30 s in all."""
_MAX_APPLICATION_NAME = 63
_SET_CONFIG = sa.text("SELECT set_config(:name, :value, false)")
_TRY_LOCK = sa.text("SELECT pg_try_advisory_lock(:key)")
_PING = sa.text("SELECT 1")
# An advisory lock with one 64-bit key is listed as two halves, with objsubid 1.
_HOLDER = sa.text(
    "SELECT holder.application_name"
    " FROM pg_locks lock JOIN pg_stat_activity holder USING (pid)"
    " WHERE lock.locktype = 'advisory' AND lock.granted AND lock.objsubid = 1"
    " AND holder.datname = current_database()"
    " AND ((lock.classid::bigint << 32) | lock.objid::bigint) = :key"
)


class AdvisoryLock(HeldLock):
    """Holds `name` among all processes that use the same database and the same `scope`.

    Waiting processes are told the pid and the host of the holder.
    """

    poll_s = POLL_S

    def __init__(self, url: str, scope: str, name: str) -> None:
        super().__init__(name)
        # PostgreSQL knows a lock by a signed number of 64 bits, not by a name.
        text = f"{scope}\0{name}"
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        self._key = {"key": int.from_bytes(digest, signed=True)}
        self._url = url
        self._connection: sa.Connection | None = None

    def try_hold(self, holder: str) -> bool:  # noqa: ARG002 - the connection says who it is
        with self._explain_errors():
            return self._try_lock()

    def release(self) -> None:
        self._disconnect()

    def holder(self) -> str | None:
        with self._explain_errors():
            if self._connection is not None:
                return self._find_holder(self._connection)
            # Closed again after the look, since a server has few connections.
            connection = _connect(self._url)
            try:
                return self._find_holder(connection)
            finally:
                _close(connection)

    def _watch(self) -> AbstractContextManager[None]:
        return watchdog(self._is_kept, POLL_S)

    def _is_kept(self) -> bool:
        """Tell whether the lock is still ours; take it again if only the connection was lost."""
        try:
            # The lock belongs to the connection. As long as that answers, the lock is held.
            if self._connection is not None:
                self._connection.execute(_PING)
                return True
            if self._try_lock():
                return True
            assert self._connection is not None
            holder = self._find_holder(self._connection)
            logger.error("%s was lost to %s; this process ends", self.name, holder)
        except sa.exc.SQLAlchemyError:
            # The server is away. The next check opens a new connection.
            self._disconnect()
            return True
        return False

    def _try_lock(self) -> bool:
        if self._connection is None:
            self._connection = _connect(self._url)
        return bool(self._connection.execute(_TRY_LOCK, self._key).scalar_one())

    def _find_holder(self, connection: sa.Connection) -> str | None:
        names = connection.execute(_HOLDER, self._key).scalars().all()
        if not names:
            return None
        return str(names[0] or "another host")

    def _disconnect(self) -> None:
        if self._connection is not None:
            _close(self._connection)
            self._connection = None

    @contextmanager
    def _explain_errors(self) -> Iterator[None]:
        try:
            yield
        except ImportError as error:
            raise not_installed(error, f"journal {self._url}", "cluster") from error
        except (sa.exc.SQLAlchemyError, ValueError) as error:
            reason = getattr(error, "orig", None) or error
            raise SetupError(
                f"journal {self._url}: cannot be used: {type(error).__name__}: {reason}"
            ) from error


def _connect(url: str) -> sa.Connection:
    """Open a connection that says whose it is, and that the server drops soon if we fall silent."""
    # No pool, since a lock would stay with a connection that goes back into it. And no open
    # transaction, which would keep the server from cleaning up for as long as the lock is held.
    engine = sa.create_engine(
        url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT", hide_parameters=True
    )
    connection = engine.connect()
    name = f"process {os.getpid()} on {socket.gethostname()}"[:_MAX_APPLICATION_NAME]
    for setting, value in {**_CONNECTION_SETTINGS, "application_name": name}.items():
        connection.execute(_SET_CONFIG, {"name": setting, "value": value})
    return connection


def _close(connection: sa.Connection) -> None:
    with suppress(sa.exc.SQLAlchemyError):
        connection.close()
    connection.engine.dispose()
