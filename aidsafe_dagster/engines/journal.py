"""The journal: every completion, recorded before its dialogue goes on.

The journal is a cache and a checkpoint. A dialogue that is started again replays what is recorded
and goes on from there. Resuming after a kill, retrying failed rows and changing only the refiner's
prompt are the same mechanism: the same requests are made again, and only new ones reach the model
server. A kill at any instant costs the calls in flight and nothing else.

The key is a hash of the model, the messages, the schema, the sampling, the seed and the draw
(`Request.key`). SQLite in WAL mode serves one machine; any other SQLAlchemy URL is used as it is.
If the database is locked or unavailable for a while, the journal waits.
"""

import logging
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.schema import CreateTable

from aidsafe_dagster.engines.packed_text import unpack
from aidsafe_dagster.primitives.advisory_lock import lock_tokens
from aidsafe_dagster.primitives.atomic_write import flush
from aidsafe_dagster.primitives.database_start import wait_for_start
from aidsafe_dagster.primitives.disk_trouble import disk_trouble
from aidsafe_dagster.primitives.held_lock import HeldLock, LockLost
from aidsafe_dagster.primitives.retry import retry
from aidsafe_dagster.recipe.dialogue import Completion, Request
from aidsafe_dagster.recipe.errors import SetupError, not_installed
from aidsafe_dagster.recipe.records import Usage

VERSION = 1
PACKED_VERSION = 2
"""Of a journal with packed answers (`journal_compaction.py`). Earlier releases cannot read it."""
_READABLE = (VERSION, PACKED_VERSION)
WAIT_S = 120.0
"""Longest wait for a locked or unavailable database. `?timeout=<seconds>` in a SQLite URL overrides
it."""
_POLL_S = 0.05
_RECONNECT_AFTER_S = 1.0
_CREATE_ATTEMPTS = 3
_IDS_PER_STATEMENT = 500
_COPIED_AT_ONCE = 500
logger = logging.getLogger(__name__)

_metadata = sa.MetaData()
_about = sa.Table(
    "journal", _metadata, sa.Column("version", sa.Integer, primary_key=True)
)
_completions = sa.Table(
    "completions",
    _metadata,
    sa.Column("key", sa.String(32), primary_key=True),
    sa.Column("prompt_id", sa.String, nullable=False),
    sa.Column("stage", sa.String, nullable=False),
    sa.Column("role", sa.String, nullable=False),
    sa.Column("turn", sa.Integer, nullable=False),
    sa.Column("draw", sa.Integer, nullable=False),
    sa.Column("model", sa.String, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("prompt_tokens", sa.Integer, nullable=False),
    sa.Column("cached_tokens", sa.Integer, nullable=False),
    sa.Column("completion_tokens", sa.Integer, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    # A column that is added later has no value in older rows.
    sa.Column("reasoning", sa.Text),
    sa.Column("reasoning_tokens", sa.Integer),
    sa.Column("ended_early", sa.Text),
    sa.Column(
        "recorded_at",
        sa.DateTime(timezone=True),
        server_default=sa.func.current_timestamp(),
        nullable=False,
    ),
)

dictionaries = sa.Table(
    "dictionaries",
    sa.MetaData(),
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("content", sa.LargeBinary, nullable=False),
)
"""Of packed answers. Only a compacted journal has this table."""
PACKED_COLUMNS = ("text", "reasoning")
"""They hold text, or packed text as bytes."""

_COLUMN_NAMES = tuple(_completions.columns.keys())
_ENTRY_COLUMNS = tuple(name for name in _COLUMN_NAMES if name != "recorded_at")
"""Those that the database does not set itself."""
_ADDED_COLUMNS = ("reasoning", "reasoning_tokens", "ended_early")
"""Columns that journals of the first release lack."""
_FIRST_COLUMNS = tuple(name for name in _COLUMN_NAMES if name not in _ADDED_COLUMNS)


class DiskFull(SetupError):
    """The journal's disk is full or fails, which may be over in a moment."""


@dataclass(frozen=True)
class Entry:
    """A completion to record."""

    key: str
    request: Request
    completion: Completion
    seconds: float
    """How long the engine took."""

    @property
    def values(self) -> dict[str, Any]:
        request, completion = self.request, self.completion
        return {
            "key": self.key,
            "prompt_id": request.prompt_id,
            "stage": str(request.stage),
            "role": str(request.role),
            "turn": request.turn,
            "draw": request.draw,
            "model": completion.model,
            "text": completion.text,
            "seconds": self.seconds,
            "prompt_tokens": completion.usage.prompt_tokens,
            "cached_tokens": completion.usage.cached_tokens,
            "completion_tokens": completion.usage.completion_tokens,
            "reasoning": completion.reasoning or None,
            "reasoning_tokens": completion.usage.reasoning_tokens or None,
            "ended_early": completion.ended_early or None,
        }


class Journal:
    """An open journal on one connection. Every statement is its own transaction.

    Every method raises SetupError, with a remedy, when the database cannot be used: it stays locked
    for `WAIT_S`, is damaged, full, of another version, or no journal at all.

    Args:
        url: of the database.
        lock: once it is lost, nothing more is written. None: no other process is at this work.

    Raises:
        LockLost: at a write, the lock was lost.
    """

    def __init__(self, url: str, lock: HeldLock | None = None) -> None:
        self.url = sa.make_url(url)
        self._lock = lock
        self.is_local = self.url.get_backend_name() == "sqlite"
        """A query takes less time than handing it to a thread."""
        self._wait_s = float(self.url.query.get("timeout", WAIT_S))  # type: ignore[arg-type]
        with self._database_errors():
            self._connection = _open(self.url, self._wait_s)
        self._file = _identity(self.url) if self.is_local else None
        key_column = _completions.c.key
        is_key = key_column == sa.bindparam("key")
        is_one_of_keys = key_column.in_(sa.bindparam("keys", expanding=True))
        self._find = sa.select(_completions).where(is_key)
        self._find_all = sa.select(_completions).where(is_one_of_keys)
        self._insert = _insert_if_absent(self._connection.dialect.name)
        self._unpacker = _Unpacker(self._connection)
        self._sqlite: _SQLiteStatements | None = None
        if self.is_local:
            self._sqlite = _SQLiteStatements(self._connection, self._find, self._lock)

    def find(self, key: str) -> Completion | None:
        """Return the recorded completion, or None."""
        with self._database_errors():
            found: Mapping[Any, Any] | None
            if self._sqlite:
                found = self._sqlite.find(key)
            else:
                result = self._execute(self._find, {"key": key})
                found = result.mappings().one_or_none()
            return None if found is None else self._completion(found)

    def find_all(self, keys: Sequence[str]) -> dict[str, Completion]:
        """Return those completions that are recorded, by key."""
        with self._database_errors():
            result = self._execute(self._find_all, {"keys": list(keys)})
            rows = result.mappings().all()
            return {row["key"]: self._completion(row) for row in rows}

    def _completion(self, row: Mapping[Any, Any]) -> Completion:
        usage = Usage(
            calls=1,
            prompt_tokens=row["prompt_tokens"],
            cached_tokens=row["cached_tokens"],
            completion_tokens=row["completion_tokens"],
            reasoning_tokens=row["reasoning_tokens"] or 0,
        )
        return Completion(
            text=self._unpacker.text(row["text"]),
            model=row["model"],
            usage=usage,
            reasoning=self._unpacker.text(row["reasoning"] or ""),
            ended_early=row["ended_early"] or "",
        )

    def record(self, entry: Entry) -> Completion:
        """Record a completion and return the one in force.

        That is another one if another process has recorded the same call first.
        """
        with self._database_errors():
            if self._sqlite:
                self._restore_if_removed()
                is_new = self._sqlite.insert(entry.values)
            else:
                return self.record_all([entry])[entry.key]
        if is_new:
            return entry.completion
        # A lock that was lost keeps an entry out just as an earlier one does.
        self._confirm_lock()
        # Everybody goes on with the answer that was recorded first, so that replays agree.
        return self.find(entry.key) or entry.completion

    def record_all(self, entries: Sequence[Entry]) -> dict[str, Completion]:
        """Record several completions in one transaction and return those in force, by key."""
        rows = [entry.values for entry in entries]
        token = self._lock.fencing_token if self._lock else None
        if token is None:
            self._confirm_lock()
        with self._database_errors():
            if token is None:
                statement = self._insert.returning(_completions.c.key)
                result = self._execute(statement, rows)
            else:
                values = _fenced_values(rows, token)
                result = self._execute(_INSERT_BEHIND_FENCE, values)
            new = set(result.scalars())
        completions = {entry.key: entry.completion for entry in entries}
        recorded_before = [key for key in completions if key not in new]
        if recorded_before:
            # A lock that was lost keeps entries out just as earlier ones do.
            self._confirm_lock()
            completions |= self.find_all(recorded_before)
        return completions

    def forget(self, prompt_ids: Sequence[str]) -> int:
        """Remove all completions of these prompts, and return how many there were."""
        removed = 0
        for start in range(0, len(prompt_ids), _IDS_PER_STATEMENT):
            ids = prompt_ids[start : start + _IDS_PER_STATEMENT]
            statement = sa.delete(_completions).where(_completions.c.prompt_id.in_(ids))
            with self._database_errors():
                removed += self._execute(statement, {}).rowcount
        return removed

    def flush(self) -> None:
        """Return once everything recorded so far is on the disk.

        SQLite itself waits for the disk only now and then (`synchronous=NORMAL`).
        """
        write_ahead_log = Path(f"{self.url.database}-wal")
        if self.is_local and write_ahead_log.exists():
            with self._database_errors():
                flush(write_ahead_log)

    def close(self) -> None:
        """Close the connection."""
        try:
            self._restore_if_removed()
        except (
            LockLost,
            SetupError,
            sa.exc.SQLAlchemyError,
            sqlite3.Error,
            OSError,
        ) as error:
            logger.warning("%s", error)
        _close(self._connection)

    def _restore_if_removed(self) -> None:
        """Write the file anew if it was removed, or replaced, under this connection.

        SQLite goes on with a file that has no name any more, and what it takes is lost once the
        connection is closed. Until then all of it can still be read.
        """
        if not self.is_local or _identity(self.url) == self._file:
            return
        logger.warning(
            "journal %r: its file was removed while this run uses it. It is written anew, "
            "with what this run can still read of it",
            self.url,
        )
        self._confirm_lock()
        with self._database_errors():
            connection = _open(self.url, self._wait_s)
            _copy_dictionaries(self._connection, connection)
            _copy_completions(self._connection, connection)
        _close(self._connection)
        self._connection = connection
        self._unpacker = _Unpacker(connection)
        self._sqlite = _SQLiteStatements(connection, self._find, self._lock)
        self._file = _identity(self.url)

    def _confirm_lock(self) -> None:
        if self._lock:
            self._lock.confirm()

    def _execute(self, statement: sa.Executable, values: Any) -> sa.CursorResult[Any]:
        """Run a statement, and retry it while a database server is unavailable.

        All statements are idempotent, so running one twice does no harm.
        """
        deadline = time.monotonic() + self._wait_s

        def wait_before(error: sa.exc.OperationalError, _: int) -> float:
            # SQLite has waited itself (its `timeout`), so another wait would not help.
            if self.is_local or time.monotonic() > deadline:
                raise error
            logger.warning(
                "journal %r: %s; retrying", self.url, type(error.orig).__name__
            )
            # The next statement then opens a new connection to the server.
            self._connection.invalidate()
            self._connection.rollback()
            return _RECONNECT_AFTER_S

        return retry(
            lambda: self._connection.execute(statement, values),
            sa.exc.OperationalError,
            wait_before,
        )

    @contextmanager
    def _database_errors(self) -> Iterator[None]:
        """Turn errors of the database into SetupErrors with a remedy."""
        try:
            yield
        except ImportError as error:
            raise not_installed(error, f"journal {self.url!r}", "cluster") from error
        except (sa.exc.SQLAlchemyError, sqlite3.Error, OSError, ValueError) as error:
            message = f"journal {self.url!r}: {self._explain(error)}"
            if disk_trouble(error):
                raise DiskFull(message) from error
            raise SetupError(message) from error

    @property
    def wait_s(self) -> float:
        """Longest wait for a database that cannot be used for the moment."""
        return self._wait_s

    def _explain(self, error: Exception) -> str:
        """Return what is wrong with the database, and the remedy."""
        # Some messages quote the text of a column, which may be an answer of the model.
        cause = getattr(error, "orig", None) or error
        message, _, _ = str(cause).partition(" with text")
        if "locked" in message:
            return (
                f"another process has kept it locked for {self._wait_s:.0f} s. "
                "End that process, then start again"
            )
        is_damaged = "malformed" in message or "decode" in message
        if is_damaged or "not a database" in message:
            return (
                f"cannot be opened, because the file is damaged or no journal ({message}). "
                f'Save what can be read with `sqlite3 {self.url.database} ".recover" | '
                "sqlite3 saved.sqlite` and put that in its place, or move it away. "
                "Then all calls are made again"
            )
        if "full" in message:
            return (
                f"cannot be written: {message}. Free some space and start again. "
                "What was recorded is safe"
            )
        if "unable to open" in message or "readonly" in message:
            return (
                f"{message}. It has to be a file, and file and folder have to be writable. "
                "Correct that, or name another journal in the settings (journal_url)"
            )
        return f"cannot be used: {type(error).__name__}: {message}"


@dataclass(frozen=True)
class RecordedAnswer:
    """An answer as the journal holds it."""

    role: str
    model: str
    text: str


def read_answers(
    url: str, prompt_id: str, stage: str, turn: int, draw: int
) -> list[RecordedAnswer]:
    """Return what is recorded for one call of a row, the latest last; nothing is written.

    There are several if the row was made under several settings. Without a journal there is none.
    The whole journal is read, since no index leads to a row's calls: some seconds for a large one.

    Raises:
        SetupError: the journal cannot be read.
    """
    place = sa.make_url(url)
    is_local = place.get_backend_name() == "sqlite"
    if is_local:
        file = Path(str(place.database)).absolute()
        if not is_journal_there(url):
            return []
        # SQLite's own form, which alone can say that nothing is to be written.
        place = sa.URL.create(
            "sqlite", database=file.as_uri(), query={"mode": "ro", "uri": "true"}
        )
    columns = _completions.c
    statement = (
        sa.select(columns.role, columns.model, columns.text)
        .where(columns.prompt_id == prompt_id, columns.stage == stage)
        .where(columns.turn == turn, columns.draw == draw)
        .order_by(columns.recorded_at, columns.key)
    )
    try:
        engine = sa.create_engine(place, hide_parameters=True)
        try:
            with engine.connect() as connection:
                unpacker = _Unpacker(connection)
                answers = []
                for role, model, text in connection.execute(statement):
                    answers.append(RecordedAnswer(role, model, unpacker.text(text)))
        finally:
            engine.dispose()
    except ImportError as error:
        raise not_installed(error, f"journal {place!r}", "cluster") from error
    except (sa.exc.SQLAlchemyError, sqlite3.Error, OSError, ValueError) as error:
        # The whole message would quote the statement.
        cause = getattr(error, "orig", None) or type(error).__name__
        raise SetupError(f"journal {place!r} cannot be read: {cause}") from error
    return answers


def _insert_behind_fence() -> sa.Executable:
    """Return the insertion of absent rows that the server itself refuses once the lock is lost.

    A check from here would not do: this process may be paused between the check and the insertion.
    The rows are an array per column. So the statement is the same for any number of rows, and is
    compiled once. Its parameters are `_fenced_values`.
    """
    columns = [_completions.columns[name] for name in _ENTRY_COLUMNS]
    arrays = []
    for column in columns:
        array = postgresql.ARRAY(column.type)
        # PostgreSQL takes an array of nulls for one of text.
        arrays.append(sa.cast(sa.bindparam(column.name, type_=array), array))
    columns_of_entries = sa.func.unnest(*arrays).table_valued(*_ENTRY_COLUMNS)
    entries = columns_of_entries.render_derived(name="entry")
    is_ours = sa.exists().where(
        lock_tokens.c.key == sa.bindparam("lock"),
        lock_tokens.c.token == sa.bindparam("token"),
    )
    rows = sa.select(*(entries.c[name] for name in _ENTRY_COLUMNS)).where(is_ours)
    insert = postgresql.insert(_completions).from_select(_ENTRY_COLUMNS, rows)
    return insert.on_conflict_do_nothing().returning(_completions.c.key)


def _fenced_values(
    rows: Sequence[Mapping[str, Any]], token: tuple[int, int]
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in _ENTRY_COLUMNS:
        values[name] = [row[name] for row in rows]
    values["lock"], values["token"] = token
    return values


_INSERT_BEHIND_FENCE = _insert_behind_fence()


def _insert_while_kept() -> sa.Insert:
    """Return the insertion of an absent row into SQLite that asks for the lock itself.

    A check before it would not do: the insertion waits while another process writes.
    """
    columns = [_completions.columns[name] for name in _ENTRY_COLUMNS]
    values = [sa.bindparam(column.name, type_=column.type) for column in columns]
    row = sa.select(*values).where(sa.func.lock_is_kept())
    insert = sqlite_dialect.insert(_completions).from_select(columns, row)
    return insert.on_conflict_do_nothing()


class _Unpacker:
    """Reads answers that may be packed."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._dictionaries: dict[int, bytes] = {}

    def text(self, stored: str | bytes) -> str:
        """Return an answer as it was given.

        Raises:
            ValueError: it is damaged.
        """
        if isinstance(stored, str):
            return stored
        return unpack(stored, self._dictionary).decode()

    def _dictionary(self, number: int) -> bytes:
        if number not in self._dictionaries:
            statement = sa.select(dictionaries.c.content)
            is_it = dictionaries.c.id == number
            content = self._connection.execute(statement.where(is_it)).scalar()
            if content is None:
                raise ValueError("a packed answer is malformed: its dictionary is gone")
            self._dictionaries[number] = content
        return self._dictionaries[number]


class _SQLiteStatements:
    """The statements of every call on SQLite's own connection, at a third of SQLAlchemy's CPU."""

    def __init__(
        self, connection: sa.Connection, find: sa.Select[Any], lock: HeldLock | None
    ) -> None:
        database: Any = connection.connection.dbapi_connection
        database.create_function("lock_is_kept", 0, self._lock_is_kept)
        self._connection = database
        self._lock = lock
        self._find = str(find.compile(connection))
        compiled = _insert_while_kept().compile(connection)
        self._insert = str(compiled)
        # The order of the placeholders, which is SQLAlchemy's to choose.
        self._order = tuple(compiled.positiontup or ())

    def _lock_is_kept(self) -> bool:
        """Tell SQLite, which asks once nothing is left to wait for, whether it may insert."""
        if self._lock is None:
            return True
        try:
            self._lock.confirm()
        except (LockLost, SetupError):
            # SQLite would hide it. Whoever finds nothing inserted confirms the lock again.
            return False
        return True

    def find(self, key: str) -> Mapping[Any, Any] | None:
        row = self._connection.execute(self._find, (key,)).fetchone()
        return None if row is None else dict(zip(_COLUMN_NAMES, row, strict=True))

    def insert(self, values: Mapping[str, Any]) -> bool:
        """Insert a row. Return False if its key is recorded already, or the lock was lost."""
        ordered = [values[name] for name in self._order]
        cursor = self._connection.execute(self._insert, ordered)
        return bool(cursor.rowcount)


def is_journal_there(url: str) -> bool:
    """Tell whether a journal exists. One in a database server may: only opening it would tell."""
    place = sa.make_url(url)
    is_local = place.get_backend_name() == "sqlite"
    return not is_local or Path(str(place.database)).exists()


def _identity(url: sa.URL) -> tuple[int, int] | None:
    """Return what tells SQLite's file from any other; None if there is none."""
    try:
        status = Path(str(url.database)).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _copy_dictionaries(source: sa.Connection, target: sa.Connection) -> None:
    """Copy the dictionaries of packed answers, if the journal is a compacted one."""
    if not sa.inspect(source).has_table(dictionaries.name):
        return
    target.execute(CreateTable(dictionaries, if_not_exists=True))
    target.execute(sa.update(_about).values(version=PACKED_VERSION))
    insert = _dialect_insert(target.dialect.name)(dictionaries)
    for row in source.execute(sa.select(dictionaries)).mappings():
        target.execute(insert.on_conflict_do_nothing(), dict(row))


def _copy_completions(source: sa.Connection, target: sa.Connection) -> None:
    """Copy the completions that the target lacks."""
    insert = _insert_if_absent(target.dialect.name)
    rows = source.execute(sa.select(_completions)).mappings()
    for chunk in rows.partitions(_COPIED_AT_ONCE):
        target.execute(insert, [dict(row) for row in chunk])


def _open(url: sa.URL, wait_s: float) -> sa.Connection:
    """Connect to a journal, which is created if need be."""
    connection = _connect(url, wait_s)
    # A journal in use is only read here: creating would wait for its writers.
    if not _versions(connection):
        _create(connection)
    # Before anything is altered: a later release knows what it has in these tables.
    _check_version(connection, url)
    _add_columns(connection)
    _check_columns(connection, url)
    return connection


def _close(connection: sa.Connection) -> None:
    connection.close()
    connection.engine.dispose()


def _connect(url: sa.URL, wait_s: float) -> sa.Connection:
    if url.get_backend_name() != "sqlite":
        # Of the engine, not of the connection: one that is made anew after a restart of the
        # server would begin a transaction that nobody ever commits.
        engine = sa.create_engine(
            url, isolation_level="AUTOCOMMIT", hide_parameters=True
        )
        return wait_for_start(engine.connect)
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(
        url, connect_args={"timeout": wait_s}, hide_parameters=True
    )
    connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    _set_wal_mode(connection, wait_s)
    connection.exec_driver_sql("PRAGMA synchronous=NORMAL")
    return connection


def _set_wal_mode(connection: sa.Connection, wait_s: float) -> None:
    """Switch to write-ahead logging.

    SQLite does not wait for another process that is changing the mode, so this function does.
    """
    deadline = time.monotonic() + wait_s

    def wait_before(error: sa.exc.OperationalError, _: int) -> float:
        if "locked" not in str(error) or time.monotonic() > deadline:
            raise error
        return _POLL_S

    retry(
        lambda: connection.exec_driver_sql("PRAGMA journal_mode=WAL"),
        sa.exc.OperationalError,
        wait_before,
    )


def _create(connection: sa.Connection) -> None:
    """Create the tables if they do not exist. Another process may be doing so at the same time."""
    # PostgreSQL may fail the slower of two processes, once for each table.
    for attempt in range(_CREATE_ATTEMPTS):
        try:
            for table in _metadata.sorted_tables:
                connection.execute(CreateTable(table, if_not_exists=True))
            insert = _dialect_insert(connection.dialect.name)(_about)
            has_version = sa.exists(sa.select(_about))
            version_if_absent = sa.select(sa.literal(VERSION)).where(~has_version)
            insert_version = insert.from_select(["version"], version_if_absent)
            connection.execute(insert_version.on_conflict_do_nothing())
        except (sa.exc.IntegrityError, sa.exc.ProgrammingError):
            if attempt + 1 == _CREATE_ATTEMPTS:
                raise
        else:
            return


def _add_columns(connection: sa.Connection) -> None:
    """Add the columns that a journal of an earlier release lacks; it stays readable by that one."""
    if not sa.inspect(connection).has_table(_completions.name):
        return
    present = {
        column["name"] for column in sa.inspect(connection).get_columns("completions")
    }
    # Something else wrote a table without the first columns, and `_check_columns` says so.
    if not set(_FIRST_COLUMNS) <= present:
        return
    for name in _ADDED_COLUMNS:
        if name in present:
            continue
        column_type = _completions.columns[name].type.compile(connection.dialect)
        statement = f"ALTER TABLE completions ADD COLUMN {name} {column_type}"
        try:
            connection.exec_driver_sql(statement)
        except (sa.exc.OperationalError, sa.exc.ProgrammingError) as error:
            # Another process has just added it.
            if "exists" not in str(error) and "duplicate" not in str(error):
                raise


def _versions(connection: sa.Connection) -> list[int]:
    """Return the recorded versions. A new database has none."""
    if not sa.inspect(connection).has_table(_about.name):
        return []
    return list(connection.execute(sa.select(_about.c.version)).scalars())


def _check_version(connection: sa.Connection, url: sa.URL) -> None:
    """Refuse a journal of another version."""
    versions = _versions(connection)
    if len(versions) != 1 or versions[0] not in _READABLE:
        written = ", ".join(map(str, versions))
        whose = (
            "a later release of aidsafe"
            if max(versions, default=0) > max(_READABLE)
            else "another"
        )
        raise SetupError(
            f"journal {url!r}: written as version {written} by {whose}; this one reads "
            f"{' and '.join(map(str, _READABLE))}. "
            "Use the release that wrote it, or name another journal in the settings (journal_url)"
        )


def _check_columns(connection: sa.Connection, url: sa.URL) -> None:
    """Refuse a table that is no journal's."""
    described = sa.inspect(connection).get_columns(_completions.name)
    columns = {column["name"] for column in described}
    missing = [name for name in _COLUMN_NAMES if name not in columns]
    if missing:
        raise SetupError(
            f"journal {url!r}: its table '{_completions.name}' lacks {', '.join(missing)}, "
            "since something else wrote it. Name another journal in the settings (journal_url)"
        )


def _dialect_insert(dialect: str) -> Any:
    return postgresql.insert if dialect == "postgresql" else sqlite_dialect.insert


def _insert_if_absent(dialect: str) -> Any:
    return _dialect_insert(dialect)(_completions).on_conflict_do_nothing()
