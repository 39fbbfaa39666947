"""The journal: every completion, recorded before its dialogue goes on.

A dialogue that is started again replays what is recorded and goes on from there. So resuming after a kill, retrying
failed rows and changing only the refiner's prompt are all the same mechanism: ask as before, and only what is new
reaches the model server. A kill at any instant costs the calls in flight and nothing else.

The key is a hash of the model, the messages, the schema, the sampling, the seed and the draw (`Request.key`). SQLite in
WAL mode serves one machine; any other SQLAlchemy URL is taken as it is. A database that is locked or away for a while
is waited for.
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

from aidsafe_dagster.primitives.atomic_write import flush
from aidsafe_dagster.recipe.dialogue import Completion, Request
from aidsafe_dagster.recipe.errors import SetupError, not_installed
from aidsafe_dagster.recipe.records import Usage

VERSION = 1
WAIT_S = 120.0
"""So long a locked or absent database is waited for; `?timeout=<seconds>` in a SQLite URL says otherwise."""
logger = logging.getLogger(__name__)

_metadata = sa.MetaData()
_about = sa.Table("journal", _metadata, sa.Column("version", sa.Integer, primary_key=True))
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
    sa.Column(
        "recorded_at",
        sa.DateTime(timezone=True),
        server_default=sa.func.current_timestamp(),
        nullable=False,
    ),
)

_NAMES = tuple(_completions.columns.keys())


@dataclass(frozen=True)
class Entry:
    """A completion to record; `seconds` is how long the engine took."""

    key: str
    request: Request
    completion: Completion
    seconds: float

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
        }


class Journal:
    """An open journal. One connection; every statement is its own transaction.

    Every method raises SetupError, with what a person can do, when the database cannot be used: locked for `WAIT_S`,
    damaged, full, of another version, or no journal at all.
    """

    def __init__(self, url: str) -> None:
        self.url = sa.make_url(url)
        self.is_local = self.url.get_backend_name() == "sqlite"
        """It answers faster than a thread could be asked to ask it."""
        self._wait_s = float(self.url.query.get("timeout", WAIT_S))  # type: ignore[arg-type]
        with self._in_words():
            self._connection = _connect(self.url, self._wait_s)
            if not _versions(self._connection):
                _create(self._connection)
            _check(self._connection, self.url)
        self._find = sa.select(_completions).where(_completions.c.key == sa.bindparam("key"))
        self._find_all = sa.select(_completions).where(
            _completions.c.key.in_(sa.bindparam("keys", expanding=True))
        )
        self._insert = _insert_unless_there(self._connection.dialect.name)
        self._direct = _Direct(self._connection, self._find, self._insert) if self.is_local else None

    def find(self, key: str) -> Completion | None:
        """The recorded completion, or None."""
        with self._in_words():
            if self._direct:
                return self._direct.find(key)
            row = self._execute(self._find, {"key": key}).mappings().one_or_none()
        return None if row is None else _completion(row)

    def find_all(self, keys: Sequence[str]) -> dict[str, Completion]:
        """Those that are recorded, by key."""
        with self._in_words():
            rows = self._execute(self._find_all, {"keys": list(keys)}).mappings().all()
        return {row["key"]: _completion(row) for row in rows}

    def record(self, entry: Entry) -> Completion:
        """Records a completion and returns the one in force: another process may have been first."""
        with self._in_words():
            if self._direct:
                is_new = self._direct.insert(entry.values)
            else:
                is_new = self._execute(self._insert, entry.values).rowcount > 0
        return entry.completion if is_new else self.find(entry.key) or entry.completion

    def record_all(self, entries: Sequence[Entry]) -> dict[str, Completion]:
        """Records several in one transaction and returns those in force, by key."""
        with self._in_words():
            statement = self._insert.returning(_completions.c.key)
            new = set(self._execute(statement, [entry.values for entry in entries]).scalars())
        given = {entry.key: entry.completion for entry in entries}
        known = [key for key in given if key not in new]
        return given | (self.find_all(known) if known else {})

    def flush(self) -> None:
        """Returns once what was recorded before is on the disk: SQLite itself waits for that only now and then."""
        ahead = Path(f"{self.url.database}-wal")
        if self.is_local and ahead.exists():
            with self._in_words():
                flush(ahead)

    def close(self) -> None:
        self._connection.close()
        self._connection.engine.dispose()

    def _execute(self, statement: sa.Executable, values: Any) -> sa.CursorResult[Any]:
        """Again and again where a database server is away for a while; a statement done twice does no harm."""
        started = time.monotonic()
        while True:
            try:
                return self._connection.execute(statement, values)
            except sa.exc.OperationalError as error:
                if self.is_local or time.monotonic() - started > self._wait_s:
                    raise
                logger.warning("journal %r: %s; trying again", self.url, type(error.orig).__name__)
                self._connection.invalidate()
                self._connection.rollback()
                time.sleep(1.0)

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except ImportError as error:
            raise not_installed(error, f"journal {self.url!r}", "cluster") from error
        except (sa.exc.SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise SetupError(f"journal {self.url!r}: {self._words(error)}") from error

    def _words(self, error: Exception) -> str:
        said = str(getattr(error, "orig", None) or error).partition(" with text")[
            0
        ]  # which may be an answer
        if "locked" in said:
            return f"another process has kept it locked for {self._wait_s:.0f} s; end that one, then start again"
        if "malformed" in said or "not a database" in said or "decode" in said:
            return (
                f"cannot be opened, the file is damaged or no journal ({said}). Save what can be read with `sqlite3 "
                f'{self.url.database} ".recover" | sqlite3 saved.sqlite` and put that in its place, or move it away: '
                "then everything is asked again"
            )
        if "full" in said:
            return (
                f"cannot be written: {said}. Make room and start again; what was recorded is safe"
            )
        if "unable to open" in said or "readonly" in said:
            return (
                f"{said}. It has to be a file, and file and folder have to be writable; mend that, or name another "
                "journal in the settings (journal_url)"
            )
        return f"cannot be used: {type(error).__name__}: {said}"


class _Direct:
    """What every call needs, straight on SQLite's own connection: the same statements at a third of the CPU."""

    def __init__(self, connection: sa.Connection, find: sa.Select[Any], insert: sa.Insert) -> None:
        self._connection: Any = connection.connection.dbapi_connection
        self._find = str(find.compile(connection))
        compiled = insert.compile(
            connection, column_keys=[name for name in _NAMES if name != "recorded_at"]
        )
        self._insert, self._order = str(compiled), tuple(compiled.positiontup or ())

    def find(self, key: str) -> Completion | None:
        row = self._connection.execute(self._find, (key,)).fetchone()
        return None if row is None else _completion(dict(zip(_NAMES, row, strict=True)))

    def insert(self, values: Mapping[str, Any]) -> bool:
        """False if the key is there already."""
        cursor = self._connection.execute(self._insert, [values[name] for name in self._order])
        return bool(cursor.rowcount)


def _connect(url: sa.URL, wait_s: float) -> sa.Connection:
    if url.get_backend_name() != "sqlite":
        engine = sa.create_engine(url, hide_parameters=True)
        return engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url, connect_args={"timeout": wait_s}, hide_parameters=True)
    connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    _make_wal(connection, wait_s)
    connection.exec_driver_sql("PRAGMA synchronous=NORMAL")
    return connection


def _make_wal(connection: sa.Connection, wait_s: float) -> None:
    """Waits by itself: SQLite does not, when another process is changing the mode."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        except sa.exc.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _create(connection: sa.Connection) -> None:
    """Makes the tables, unless they are there; another process may be doing the same at this moment."""
    for attempt in (1, 2, 3):  # PostgreSQL may fail the slower of two, once for each table
        try:
            for table in _metadata.sorted_tables:
                connection.execute(CreateTable(table, if_not_exists=True))
            insert = _dialect_insert(connection.dialect.name)(_about)
            unless_there = sa.select(sa.literal(VERSION)).where(~sa.exists(sa.select(_about)))
            connection.execute(
                insert.from_select(["version"], unless_there).on_conflict_do_nothing()
            )
        except (sa.exc.IntegrityError, sa.exc.ProgrammingError):
            if attempt == 3:
                raise
        else:
            return


def _versions(connection: sa.Connection) -> list[int]:
    """None of a database that is new."""
    there = sa.inspect(connection).has_table(_about.name)
    return list(connection.execute(sa.select(_about.c.version)).scalars()) if there else []


def _check(connection: sa.Connection, url: sa.URL) -> None:
    found = _versions(connection)
    if found != [VERSION]:
        raise SetupError(
            f"journal {url!r}: written as version {', '.join(map(str, found))}, this release reads {VERSION}; "
            "use the release that wrote it, or name another journal in the settings (journal_url)"
        )
    columns = {column["name"] for column in sa.inspect(connection).get_columns(_completions.name)}
    if lacking := [column.name for column in _completions.columns if column.name not in columns]:
        raise SetupError(
            f"journal {url!r}: its table '{_completions.name}' lacks {', '.join(lacking)}, so something else wrote it; "
            "name another journal in the settings (journal_url)"
        )


def _dialect_insert(dialect: str) -> Any:
    return postgresql.insert if dialect == "postgresql" else sqlite_dialect.insert


def _insert_unless_there(dialect: str) -> Any:
    return _dialect_insert(dialect)(_completions).on_conflict_do_nothing()


def _completion(row: Mapping[Any, Any]) -> Completion:
    usage = Usage(
        calls=1,
        prompt_tokens=row["prompt_tokens"],
        cached_tokens=row["cached_tokens"],
        completion_tokens=row["completion_tokens"],
    )
    return Completion(text=row["text"], model=row["model"], usage=usage)
