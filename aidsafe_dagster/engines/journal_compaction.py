"""A journal in SQLite made smaller: answers packed, and the room they took given back to the disk.

Each answer is packed in place, some hundreds to a transaction, and read back before it replaces the
text. So a kill costs the transaction under way, and the next compaction goes on from there: at any
instant every entry is in the file, packed or not, and is read alike. `VACUUM` then writes the file
anew, as a transaction of SQLite's own. Neither holds more than some answers in memory.

Nobody else may have the journal open meanwhile. SQLite's exclusive lock sees to that, and ends with
the process.
"""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.schema import CreateTable

from aidsafe_dagster.engines.journal import (
    PACKED_VERSION,
    Journal,
    dictionaries,
    is_journal_there,
)
from aidsafe_dagster.engines.packed_text import (
    DICTIONARY_BYTES,
    dictionary_id,
    make_dictionary,
    pack,
    unpack,
)
from aidsafe_dagster.primitives.open_files import processes_with
from aidsafe_dagster.recipe.errors import SetupError

_ROWS_AT_ONCE = 500
_SAMPLED_ANSWERS = 64
"""Spread over the journal, so that all stages and roles are in the dictionary."""
_OPEN_WITHIN_S = 2
_ROOM = 1.1
"""Share of the estimated size that a file has to be allowed."""
_POSTGRESQL = (
    "is in a database server, and only a file is compacted here. PostgreSQL itself compresses "
    "long answers; `VACUUM FULL completions` in psql gives back the room of removed ones"
)


@dataclass(frozen=True)
class Compaction:
    """What a compaction came to. Sizes are in bytes."""

    entries: int
    packed: int
    """Answers packed by this compaction; others were packed before, or would not have shrunk."""
    size_before: int
    size_after: int
    room_due: int = 0
    """Free disk that giving back the room would have taken; 0: it was given back."""


def compact(url: str, on_progress: Callable[[int, int], None]) -> Compaction:
    """Pack all answers of a journal and shrink its file.

    Args:
        url: of the journal.
        on_progress: takes how many entries were looked at, and of how many.

    Raises:
        SetupError: there is none, it is not in a file, another process has it open, or it cannot
            be read or written.
    """
    place = sa.make_url(url)
    if place.get_backend_name() != "sqlite":
        raise SetupError(f"journal {place!r} {_POSTGRESQL}")
    if not is_journal_there(url):
        raise SetupError(f"journal {place!r}: there is none yet")
    file = Path(str(place.database))
    with _alone_with(file, place) as database:
        size_before = _size(file)
        dictionary = _dictionary(database)
        packed, saved = _pack_answers(database, dictionary, on_progress)
        (entries,) = database.execute("SELECT count(*) FROM completions").fetchone()
        room_due = _room_due(database, file, saved)
        if not room_due:
            database.execute("VACUUM")
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return Compaction(entries, packed, size_before, _size(file), room_due)


class _InUse(Exception):
    """Another process has the journal open."""


@contextmanager
def _alone_with(file: Path, place: sa.URL) -> Iterator[sqlite3.Connection]:
    """Open a journal that nobody else has open, and keep others out while the block lasts."""
    try:
        # What else may be wrong with the file is for the journal itself to say, which comes next.
        with suppress(sqlite3.DatabaseError), closing(_open_exclusively(file)):
            pass
        Journal(_impatient(place)).close()
        with closing(_open_exclusively(file)) as database:
            yield database
    except _InUse as error:
        users = ", ".join(processes_with(file)) or "another process"
        raise SetupError(
            f"journal {place!r} is in use by {users}. Nothing was changed; try again once that is "
            "over"
        ) from error
    except sqlite3.Error as error:
        raise SetupError(
            f"journal {place!r}: {error}. Nothing of it is lost, and what was packed so far stays "
            "so: start again"
        ) from error


def _open_exclusively(file: Path) -> sqlite3.Connection:
    database = sqlite3.connect(file, timeout=_OPEN_WITHIN_S, isolation_level=None)
    try:
        # Of a journal in WAL mode, this one alone keeps out readers and writers alike.
        database.execute("PRAGMA locking_mode=EXCLUSIVE")
        database.execute("BEGIN EXCLUSIVE")
        database.execute("COMMIT")
        # `VACUUM` writes a second file. The folder for temporary ones may be small, or memory.
        folder = str(file.absolute().parent).replace("'", "''")
        database.execute(f"PRAGMA temp_store_directory='{folder}'")
    except sqlite3.OperationalError as error:
        database.close()
        if "locked" in str(error):
            raise _InUse from error
        raise
    # The bytes as they are, so that what cannot be decoded is kept too.
    database.text_factory = bytes
    return database


def _impatient(place: sa.URL) -> str:
    query = {**place.query, "timeout": str(_OPEN_WITHIN_S)}
    return place.set(query=query).render_as_string(hide_password=False)


def _dictionary(database: sqlite3.Connection) -> bytes:
    """Return the journal's dictionary, made of its answers if it has none yet, or a short one.

    One that was made of few answers serves many badly. It stays for what was packed with it.
    """
    create = CreateTable(dictionaries, if_not_exists=True)
    database.execute("BEGIN IMMEDIATE")
    database.execute(str(create.compile(dialect=sqlite_dialect.dialect())))
    database.execute("UPDATE journal SET version = ?", (PACKED_VERSION,))
    stored = database.execute(
        "SELECT content FROM dictionaries ORDER BY length(content) DESC LIMIT 1"
    ).fetchone()
    dictionary: bytes = stored[0] if stored else b""
    if len(dictionary) < DICTIONARY_BYTES:
        sampled = make_dictionary(_sample(database))
        # Without answers there is none, and a later compaction makes it.
        if len(sampled) > len(dictionary):
            dictionary = sampled
            values = (dictionary_id(dictionary), dictionary)
            database.execute("INSERT INTO dictionaries VALUES (?, ?)", values)
    database.execute("COMMIT")
    return dictionary


def _sample(database: sqlite3.Connection) -> Iterator[bytes]:
    """Yield answers from all over the journal that are not packed."""
    last = _last_row(database)
    step = max(1, last // _SAMPLED_ANSWERS)
    for start in range(0, last, step):
        row = database.execute(
            "SELECT text, typeof(text) FROM completions WHERE rowid > ? "
            "ORDER BY rowid LIMIT 1",
            (start,),
        ).fetchone()
        if row is not None and row[1] == b"text":
            yield row[0]


def _last_row(database: sqlite3.Connection) -> int:
    (last,) = database.execute("SELECT max(rowid) FROM completions").fetchone()
    return last or 0


def _pack_answers(
    database: sqlite3.Connection,
    dictionary: bytes,
    on_progress: Callable[[int, int], None],
) -> tuple[int, int]:
    """Pack what is not packed. Return how many answers it were, and the bytes saved."""
    packed, saved, last = 0, 0, 0
    total = _last_row(database)
    while True:
        rows = database.execute(
            "SELECT rowid, text, typeof(text), reasoning, typeof(reasoning) "
            "FROM completions WHERE rowid > ? ORDER BY rowid LIMIT ?",
            (last, _ROWS_AT_ONCE),
        ).fetchall()
        if not rows:
            return packed, saved
        changes = []
        for row_id, text, text_type, reasoning, reasoning_type in rows:
            new_text = _packed(text, text_type, dictionary)
            new_reasoning = _packed(reasoning, reasoning_type, dictionary)
            if new_text is None and new_reasoning is None:
                continue
            for old, new in ((text, new_text), (reasoning, new_reasoning)):
                saved += len(old) - len(new) if new is not None else 0
            changes.append((new_text, new_reasoning, row_id))
        database.execute("BEGIN IMMEDIATE")
        # NULL stands for a value that stays.
        database.executemany(
            "UPDATE completions SET text = coalesce(?, text), "
            "reasoning = coalesce(?, reasoning) WHERE rowid = ?",
            changes,
        )
        database.execute("COMMIT")
        packed += len(changes)
        last = rows[-1][0]
        on_progress(last, total)


def _packed(value: bytes | None, kind: bytes, dictionary: bytes) -> bytes | None:
    """Return a value packed; None if it stays as it is."""
    if value is None or kind != b"text":
        return None
    packed = pack(value, dictionary)
    if len(packed) >= len(value):
        return None
    # What was paid for is not replaced by anything that does not give it back.
    if unpack(packed, {dictionary_id(dictionary): dictionary}.__getitem__) != value:
        raise AssertionError("an answer is not what it was once it is unpacked")
    return packed


def _room_due(database: sqlite3.Connection, file: Path, saved: int) -> int:
    """Return the bytes that are missing on the disk to write the file anew; 0: there is room."""
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    (page_bytes,) = database.execute("PRAGMA page_size").fetchone()
    # The new file is written beside the old one, and then through the write-ahead log.
    due = int(2 * _ROOM * max(0, pages * page_bytes - saved))
    return due if due > shutil.disk_usage(file.absolute().parent).free else 0


def _size(file: Path) -> int:
    size = file.stat().st_size
    log = file.with_name(f"{file.name}-wal")
    return size + (log.stat().st_size if log.exists() else 0)
