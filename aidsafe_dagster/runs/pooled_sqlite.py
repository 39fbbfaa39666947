"""Dagster's SQLite storage with connections that stay open.

Dagster opens its files anew for every statement: an engine, a connection, and the text of the
statement. A run of a batch has some thousand statements, and that was a fifth of its CPU. Here
the engine of a file is kept, with one connection and the statements that it has compiled.

The files are those of Dagster's own class, so either class may open what the other has written.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.pool import QueuePool

from aidsafe_dagster.runs.dagster_internals import (
    SQLITE_BUSY_TIMEOUT_SECONDS,
    ConfigurableClassData,
    DagsterSqliteStorage,
    SqliteEventLogStorage,
    SqliteRunStorage,
    SqliteScheduleStorage,
)

_MOST_FILES = 16
"""Each run has a file of its own, and a web server may read those of thousands."""


@dataclass(frozen=True)
class _OpenFile:
    engine: sa.Engine
    file: tuple[int, int] | None
    """Device and inode; None if the file was not there yet."""


class OpenFiles:
    """The engines of the files that were used last. Threads may share it."""

    def __init__(self) -> None:
        self._open_files = OrderedDict[str, _OpenFile]()
        self._lock = Lock()

    def engine(self, url: str) -> sa.Engine:
        """Return the engine of a file, with its connection if that is open."""
        with self._lock:
            found = self._open_files.pop(url, None)
            file = _identity(url)
            # A file that was deleted or replaced would be written where nobody reads it.
            if found and found.file not in (None, file):
                found.engine.dispose()
                found = None
            engine = found.engine if found else _make_engine(url)
            self._open_files[url] = _OpenFile(engine, file)
            if len(self._open_files) > _MOST_FILES:
                _, oldest = self._open_files.popitem(last=False)
                oldest.engine.dispose()
            return engine

    def close(self) -> None:
        """Close the connections that nobody uses; whoever asks again gets new ones."""
        with self._lock:
            for open_file in self._open_files.values():
                open_file.engine.dispose()
            self._open_files.clear()


def _make_engine(url: str) -> sa.Engine:
    return sa.create_engine(
        url,
        # One connection stays open. Threads that come at once get more, which are closed again.
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=-1,
        connect_args={
            "timeout": SQLITE_BUSY_TIMEOUT_SECONDS,
            # The pool hands a connection to one thread at a time.
            "check_same_thread": False,
        },
    )


def _identity(url: str) -> tuple[int, int] | None:
    try:
        status = Path(url.removeprefix("sqlite:///")).stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


@contextmanager
def _transaction(open_files: OpenFiles, url: str) -> Iterator[sa.Connection]:
    with open_files.engine(url).connect() as connection, connection.begin():
        yield connection


class PooledEventLogStorage(SqliteEventLogStorage):
    """Events, in a file per run and one for what is read across runs."""

    def __init__(self, base_dir: str) -> None:
        self._open_files = OpenFiles()
        super().__init__(base_dir)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[sa.Connection]:
        with self._db_lock:
            url = self.conn_string_for_shard(shard)
            if shard not in self._initialized_dbs:
                self._initdb(self._open_files.engine(url))
                self._initialized_dbs.add(shard)
            with _transaction(self._open_files, url) as connection:
                yield connection

    def dispose(self) -> None:
        super().dispose()
        self._open_files.close()


class PooledRunStorage(SqliteRunStorage):
    """Runs, their tags and their settings."""

    def __init__(
        self, conn_string: str, inst_data: ConfigurableClassData | None = None
    ) -> None:
        self._open_files = OpenFiles()
        super().__init__(conn_string, inst_data)

    @contextmanager
    def connect(self) -> Iterator[sa.Connection]:
        with _transaction(self._open_files, self._conn_string) as connection:
            yield connection

    def dispose(self) -> None:
        super().dispose()
        self._open_files.close()


class PooledSqliteStorage(DagsterSqliteStorage):
    """Named in dagster.yaml, with the configuration of Dagster's own class."""

    def __init__(
        self, base_dir: str, inst_data: ConfigurableClassData | None = None
    ) -> None:
        # Not the constructor of Dagster's class, which would open all files a second time.
        super(DagsterSqliteStorage, self).__init__()  # type: ignore[no-untyped-call]
        self.base_dir = base_dir
        self._inst_data = inst_data
        base = Path(base_dir)
        self._run_storage = PooledRunStorage.from_local(str(base / "history"))
        self._event_log_storage = PooledEventLogStorage(str(base / "history" / "runs"))
        # Dagster never closes this one, and a run does not use it.
        self._schedule_storage = SqliteScheduleStorage.from_local(
            str(base / "schedules")
        )

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Self:
        return cls.from_local(inst_data=inst_data, **config_value)
