"""The journal: every completion, recorded before its dialogue goes on.

A dialogue that is started again replays what is recorded and goes on from there. So resuming after a kill, retrying
failed rows and changing only the refiner's prompt are all the same mechanism: ask as before, and only what is new
reaches the model server. A kill at any instant costs the calls in flight and nothing else.

The key is a hash of the model, the messages, the schema, the sampling, the seed and the draw (`Request.key`). SQLite in
WAL mode serves one machine; any other SQLAlchemy URL is taken as it is.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateTable

from aidsafe_dagster.recipe.dialogue import Completion, Request
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Usage

VERSION = 1

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
    sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.func.current_timestamp(), nullable=False),
)


class Journal:
    """An open journal. One connection; every statement is its own transaction.

    Raises:
        SetupError: the URL leads to no usable database, or to a journal of another version.
    """

    def __init__(self, url: str) -> None:
        self.url = sa.make_url(url)
        try:
            self._connection = _connect(self.url)
            _create(self._connection)
        except sa.exc.SQLAlchemyError as error:
            raise SetupError(f"journal {self.url!r}: cannot be opened: {error.__class__.__name__}: {error}") from error
        _check_version(self._connection, self.url)
        self._find = sa.select(_completions).where(_completions.c.key == sa.bindparam("key"))
        self._insert = _insert_unless_there(self._connection.dialect.name)

    def find(self, key: str) -> Completion | None:
        """The recorded completion, or None."""
        row = self._connection.execute(self._find, {"key": key}).mappings().one_or_none()
        return None if row is None else _completion(row)

    def record(self, key: str, request: Request, completion: Completion, seconds: float) -> Completion:
        """Records a completion and returns the one in force: another process may have been first."""
        values = {
            "key": key,
            "prompt_id": request.prompt_id,
            "stage": str(request.stage),
            "role": str(request.role),
            "turn": request.turn,
            "draw": request.draw,
            "model": completion.model,
            "text": completion.text,
            "seconds": seconds,
            **completion.usage.model_dump(exclude={"calls"}),
        }
        if self._connection.execute(self._insert, values).rowcount:
            return completion
        return self.find(key) or completion

    def close(self) -> None:
        self._connection.close()
        self._connection.engine.dispose()


def _connect(url: sa.URL) -> sa.Connection:
    if url.get_backend_name() != "sqlite":
        return sa.create_engine(url).connect().execution_options(isolation_level="AUTOCOMMIT")
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    connection = sa.create_engine(url, connect_args={"timeout": 120}).connect()
    connection = connection.execution_options(isolation_level="AUTOCOMMIT")
    connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    connection.exec_driver_sql("PRAGMA synchronous=NORMAL")
    return connection


def _create(connection: sa.Connection) -> None:
    for table in _metadata.sorted_tables:
        connection.execute(CreateTable(table, if_not_exists=True))
    connection.execute(
        sa.insert(_about).from_select(["version"], sa.select(sa.literal(VERSION)).where(~sa.exists(sa.select(_about))))
    )


def _check_version(connection: sa.Connection, url: sa.URL) -> None:
    found = connection.execute(sa.select(_about.c.version)).scalars().all()
    if found != [VERSION]:
        raise SetupError(
            f"journal {url!r}: written as version {', '.join(map(str, found))}, this release reads {VERSION}; "
            "use the release that wrote it, or name another journal in the settings (journal_url)"
        )


def _insert_unless_there(dialect: str) -> sa.Insert:
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    return insert(_completions).on_conflict_do_nothing()


def _completion(row: Mapping[Any, Any]) -> Completion:
    usage = Usage(
        calls=1,
        prompt_tokens=row["prompt_tokens"],
        cached_tokens=row["cached_tokens"],
        completion_tokens=row["completion_tokens"],
    )
    return Completion(text=row["text"], model=row["model"], usage=usage)
