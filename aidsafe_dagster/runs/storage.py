"""Dagster's SQLite storage, with a database engine that is kept for each file.

Dagster makes an engine for every statement, and each compiles its statement anew: a fifth of the
CPU of a run. A kept engine remembers what it compiled. It still opens and closes the file for every
statement: Dagster's web server learns of a run's events from the file's changes, and those of a
connection that stays open would wait in the write-ahead log.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Self

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import NullPool

from aidsafe_dagster.runs.dagster_internals import (
    SQLITE_BUSY_TIMEOUT_SECONDS,
    ConfigurableClassData,
    DagsterSqliteStorage,
    SqliteEventLogStorage,
    SqliteRunStorage,
    create_engine,
)


class Storage(DagsterSqliteStorage):
    """Named in dagster.yaml, with the configuration and the files of Dagster's own class."""

    def __init__(
        self, base_dir: str, inst_data: ConfigurableClassData | None = None
    ) -> None:
        super().__init__(base_dir, inst_data)
        self._run_storage = _Runs(self._run_storage._conn_string)
        self._event_log_storage = _Events(self._event_log_storage._base_dir)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Self:
        return cls.from_local(inst_data=inst_data, **config_value)


class _Runs(SqliteRunStorage):
    @contextmanager
    def connect(self) -> Iterator[Connection]:
        with _engine(self._conn_string).begin() as connection:
            yield connection


class _Events(SqliteEventLogStorage):
    def __init__(self, base_dir: str) -> None:
        super().__init__(base_dir)
        self._known_tables = set[str]()

    def has_table(self, table_name: str) -> bool:
        # It is asked before most statements, and no table is ever dropped.
        if table_name not in self._known_tables and super().has_table(table_name):
            self._known_tables.add(table_name)
        return table_name in self._known_tables

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = _engine(self.conn_string_for_shard(shard))
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.begin() as connection:
                yield connection


# There is a file for each run, and a web server reads those of many.
@lru_cache(maxsize=16)
def _engine(url: str) -> Engine:
    timeout = {"timeout": SQLITE_BUSY_TIMEOUT_SECONDS}
    return create_engine(url, poolclass=NullPool, connect_args=timeout)
