"""An advisory lock of PostgreSQL: the lock that all hosts with the same database share.

Such a lock belongs to a connection and ends with it, so a dead process holds nothing. The server
gives up a host that lost its power or its network within half a minute. If the connection breaks
under a living process, the process takes the lock again, unless another one has held it meanwhile.
That is told by a fencing token: a number in the database that each new holder raises. A process
that lost its lock is interrupted, as by Ctrl-C, and `confirm` fails: two processes never go on with
the same work.
"""

import hashlib
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from aidsafe_dagster.primitives.database_start import wait_for_start
from aidsafe_dagster.primitives.held_lock import HeldLock
from aidsafe_dagster.primitives.watchdog import watchdog
from aidsafe_dagster.recipe.errors import SetupError, not_installed

logger = logging.getLogger(__name__)
POLL_S = 1.0
CONFIRM_WITHIN_S = 120.0
"""How long a write waits for a server that is away. The journal waits as long."""
_RELEASE_WITHIN_S = 2.0
_CREATE_ATTEMPTS = 3
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
_SESSION = sa.text("SELECT pg_backend_pid()")
lock_tokens = sa.Table(
    "lock_tokens",
    sa.MetaData(),
    sa.Column("key", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("token", sa.BigInteger, nullable=False),
)
_TOKEN = sa.select(lock_tokens.c.token).where(lock_tokens.c.key == sa.bindparam("key"))
_RAISE_TOKEN = (
    postgresql.insert(lock_tokens)
    .values(key=sa.bindparam("key"), token=1)
    .on_conflict_do_update(
        index_elements=["key"], set_={"token": lock_tokens.c.token + 1}
    )
    .returning(lock_tokens.c.token)
)
# An advisory lock with one 64-bit key is listed as two halves, with objsubid 1.
_HOLDER = sa.text(
    "SELECT holder.application_name, holder.pid"
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
        self._session = 0
        """The server's process of the connection, also after the connection broke."""
        self._is_held = False
        self._token = 0
        """As it was raised when the lock was taken."""
        # The watchdog, the journal's thread and the main thread all look after the lock.
        self._mutex = threading.RLock()

    def try_hold(self, holder: str) -> bool:  # noqa: ARG002 - the connection says who it is
        with self._mutex, self._explain_errors():
            if not self._is_held and wait_for_start(self._try_lock_anew):
                self._token = _raise_token(self._connected(), self._key)
                self._is_held = True
            return self._is_held

    @property
    def fencing_token(self) -> tuple[int, int] | None:
        # Also after the release: what is still under way passes until another one takes the lock.
        return (self._key["key"], self._token) if self._token else None

    def release(self) -> None:
        # A thread that waits for a server out of reach must not keep the process from ending.
        is_free = self._mutex.acquire(timeout=_RELEASE_WITHIN_S)
        self._is_held = False
        if is_free:
            self._disconnect()
            self._mutex.release()

    def holder(self) -> str | None:
        with self._explain_errors():
            with self._mutex:
                if self._connection is not None:
                    return self._find_holder(self._connection)[0]
            # Closed again after the look, since a server has few connections.
            connection = wait_for_start(lambda: _connect(self._url))
            try:
                return self._find_holder(connection)[0]
            finally:
                _close(connection)

    def _watch(self) -> AbstractContextManager[None]:
        return watchdog(self._may_go_on, POLL_S)

    def _may_go_on(self) -> bool:
        # While the server is away nobody else can take the lock either.
        if not self._is_lost and self._check() is not False:
            return True
        self._is_lost = True
        logger.error("%s was lost to another process; this one ends", self.name)
        return False

    def _is_kept(self) -> bool:
        deadline = time.monotonic() + CONFIRM_WITHIN_S
        while (answer := self._check()) is None:
            if time.monotonic() > deadline:
                raise SetupError(
                    f"{self.name}: the database has not confirmed the lock for "
                    f"{CONFIRM_WITHIN_S:.0f} s, so nothing was written. Start again once it is back"
                )
            time.sleep(POLL_S)
        return answer

    def _check(self) -> bool | None:
        """Tell whether the lock is ours; take it again if only the connection was lost.

        Returns:
            None while the server is away, or still takes our own broken connection for alive.
        """
        with self._mutex:
            if not self._is_held:
                return True
            try:
                # The lock belongs to the connection. As long as that answers, the lock is held.
                if self._connection is not None:
                    self._connection.execute(_PING)
                    return True
                return self._take_again()
            except sa.exc.SQLAlchemyError:
                # The next check opens a new connection.
                self._disconnect()
                return None

    def _take_again(self) -> bool | None:
        former_session = self._session
        if self._try_lock():
            # Another process may have come and gone since the connection broke.
            if self._connected().execute(_TOKEN, self._key).scalar() == self._token:
                return True
            self._disconnect()
            return False
        _, session = self._find_holder(self._connected())
        self._disconnect()
        self._session = former_session
        # Our own broken connection, which the server has yet to give up, or a holder who has just
        # let go: the next check tells.
        if session in (former_session, None):
            return None
        return False

    def _try_lock_anew(self) -> bool:
        """Try on a new connection if the one that there is has broken."""
        try:
            return self._try_lock()
        except sa.exc.SQLAlchemyError:
            self._disconnect()
            raise

    def _try_lock(self) -> bool:
        connection = self._connected()
        self._session = int(connection.execute(_SESSION).scalar_one())
        return bool(connection.execute(_TRY_LOCK, self._key).scalar_one())

    def _connected(self) -> sa.Connection:
        if self._connection is None:
            self._connection = _connect(self._url)
        return self._connection

    def _find_holder(self, connection: sa.Connection) -> tuple[str | None, int | None]:
        """Return the holder's name and session; None for both if the lock is free."""
        row = connection.execute(_HOLDER, self._key).first()
        if row is None:
            return None, None
        return str(row[0] or "another host"), int(row[1])

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


def _raise_token(connection: sa.Connection, key: dict[str, int]) -> int:
    """Raise the fencing token of a lock that is held, and return it."""
    for _ in range(_CREATE_ATTEMPTS):
        try:
            return int(connection.execute(_RAISE_TOKEN, key).scalar_one())
        except sa.exc.ProgrammingError:
            # The first lock ever taken in this database.
            with suppress(sa.exc.IntegrityError, sa.exc.ProgrammingError):
                # PostgreSQL may fail the slower of two processes that create it.
                connection.execute(CreateTable(lock_tokens, if_not_exists=True))
    return int(connection.execute(_RAISE_TOKEN, key).scalar_one())


def _close(connection: sa.Connection) -> None:
    with suppress(sa.exc.SQLAlchemyError):
        connection.close()
    connection.engine.dispose()
